// Bench compares ostree-push with the Python program that it replaces, and
// with rsync, which knows nothing of OSTree but sets the mark for copying
// files through ssh.
//
// It times whole processes, connection set-up included, between a private sshd
// and an emulated link, and holds the medians against the project's targets.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"ostree-push/internal/link"
)

const usage = `Usage:
    bench [options]

What is measured:
    -ours DIR          directory with our ostree-push, ostree-receive and
                       ostree-receive-1; without it, only python and rsync
                       take part
    -before DIR        the same of another build, to be compared with
    -python DIR        directory with the Python program (default /usr/bin)
    -contenders LIST   of these (default: all that there are)
                         ours           with the default transport
                         before         the other build
                         tunnel         ours with --transport=tunnel
                         tunnel-python  the same, to the Python receiver
                         python         Python to Python
                         rsync          rsync -a of the objects
                         rsync-sync     the same, and sync -f of them on the
                                        server: on the disk when it ends, as
                                        what the others have pushed is
    -cases LIST        of these (default: all)
                         setup   ssh HOST true, which the targets build on
                         many    15,000 small objects into an empty repository
                         big     3,000 larger objects into an empty repository
                         update  a commit on top of many that changes 1 %
                         none    many once more: nothing is to be done
                         dry     a dry run of many into an empty repository
                         object  one object of 200 MB into an empty repository
                         resume  the same once more, after the pusher was
                                 killed at half (ours; at 0 ms, and with 1G at
                                 150ms)
                         refs-changed, refs-same, refs-all
                                 both sides have 20,000 refs: one is pushed,
                                 with one file changed or none; all are, with
                                 nothing to be done (ours)
                         refs1-changed, refs1-same
                                 the same with a single ref (ours)
    -rtt LIST          round-trip times (default 0,50ms,150ms,350ms); 0 is
                       loopback itself, and has no rate
    -rate LIST         rates of the link in bit/s (default 1G,100M); 0 is
                       unlimited
    -runs N            runs of each contender in each cell (default 3)
    -enough DURATION   one run is enough when it took this long (default 60s)
    -max DURATION      end a run after this time, and leave out the contender
                       where it can only take longer (default 10m)
    -memory            measure the memory of each side instead, once and at 0 ms
                       (-max 2h, -contenders ours). These are its cases:
                         memory          1,000,000 objects
                         memory-archive  one object of 10 GB, from an archive
                         memory-bare     the same, from a bare-user repository
                         memory-refs     20,000 refs, all changed
    -size BYTES        size of that one object (default 10G)
    -small             data sets of a hundredth of the size, to try things
    -data DIR          keep the data sets here for the next time

Results:
    -json FILE         keep all figures in FILE; what FILE has of other cells
                       and contenders stays, so one can be measured again
    -from LIST         measure nothing, take the figures of these files, later
                       ones win; with -json, add them to FILE
    -write             put the results into README.md, docs/benchmark.md and
                       docs/benchmark.svg of the current directory

Repositories are below $TMPDIR; /dev/shm leaves the disk out.
`

type options struct {
	ours, before string
	python       string
	contenders   []string
	cases        []string
	rtts         []time.Duration
	rates        []int64
	runs         int
	enough, max  time.Duration
	memory       bool
	size         int
	small        bool
	data         string
	json         string
	from         []string
	write        bool
}

func main() {
	if len(os.Args) > 3 && os.Args[1] == peakCommand {
		os.Exit(peakMain(os.Args[2], os.Args[3:]))
	}
	opts, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\nTry bench -help.\n", err)
		os.Exit(2)
	}
	// Nobody reads this, but a write to a closed pipe now is an error, and not
	// the end of us before all is cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, opts)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*options, error) {
	opts := &options{
		rtts:  []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond},
		rates: []int64{1e9, 100e6},
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&opts.ours, "ours", "", "")
	f.StringVar(&opts.before, "before", "", "")
	f.StringVar(&opts.python, "python", "/usr/bin", "")
	f.Func("contenders", "", list(&opts.contenders, oneOf(contenderNames())))
	f.Func("cases", "", list(&opts.cases, oneOf(caseNames())))
	f.Func("rtt", "", list(&opts.rtts, time.ParseDuration))
	f.Func("rate", "", list(&opts.rates, parseRate))
	f.IntVar(&opts.runs, "runs", 3, "")
	f.DurationVar(&opts.enough, "enough", time.Minute, "")
	f.DurationVar(&opts.max, "max", 0, "")
	f.BoolVar(&opts.memory, "memory", false, "")
	f.Func("size", "", func(s string) error {
		size, err := humanize.ParseBytes(s)
		opts.size = int(size)
		return err
	})
	f.BoolVar(&opts.small, "small", false, "")
	f.StringVar(&opts.data, "data", "", "")
	f.StringVar(&opts.json, "json", "", "")
	f.Func("from", "", list(&opts.from, func(file string) (string, error) { return file, nil }))
	f.BoolVar(&opts.write, "write", false, "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if opts.runs < 1 {
		return nil, errors.New("-runs must be at least 1")
	}
	return opts, opts.fillIn()
}

// fillIn sets what is not set, and depends on what is.
func (opts *options) fillIn() error {
	contenders, cases, longest := contenderNames(), timedCases(), 10*time.Minute
	if opts.memory {
		opts.rtts, opts.runs = []time.Duration{0}, 1
		contenders, cases, longest = []string{ours, before}, memoryCases(), 2*time.Hour
	}
	for _, name := range opts.cases {
		if !slices.Contains(cases, name) {
			return fmt.Errorf("-cases: %q is none of %s", name, strings.Join(cases, ", "))
		}
	}
	if opts.contenders == nil {
		opts.contenders = slices.DeleteFunc(contenders, func(name string) bool { return name == before && opts.before == "" })
	}
	if opts.cases == nil {
		opts.cases = cases
	}
	size := int(10e9)
	if opts.small {
		size /= 100
	}
	opts.size, opts.max = cmp.Or(opts.size, size), cmp.Or(opts.max, longest)
	return nil
}

// list returns a flag's function that sets to to a comma-separated list.
func list[T any](to *[]T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		*to = nil
		for word := range strings.SplitSeq(s, ",") {
			v, err := parse(strings.TrimSpace(word))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	}
}

func oneOf(words []string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}

func parseRate(s string) (int64, error) {
	n, err := humanize.ParseBytes(s) // bits, here
	return int64(n), err
}

// links returns the links to measure, each one before those that can only be
// slower: what took too long on one is left out on those.
func (opts *options) links() []link.Link {
	var links []link.Link
	for _, rtt := range opts.rtts {
		for _, rate := range opts.rates {
			if rtt == 0 {
				rate = 0
			}
			links = append(links, link.Link{RTT: rtt, Rate: rate})
		}
	}
	slices.SortFunc(links, compareLinks)
	return slices.Compact(links)
}

// compareLinks sorts by the round-trip time, and the fastest first.
func compareLinks(a, b link.Link) int {
	byRate := cmp.Compare(b.Rate, a.Rate)
	if (a.Rate == 0) != (b.Rate == 0) {
		byRate = -byRate // unlimited is faster
	}
	return cmp.Or(cmp.Compare(a.RTT, b.RTT), byRate)
}

func run(ctx context.Context, opts *options) error {
	if opts.write {
		if err := checkDocs(); err != nil {
			return err
		}
	}
	res, err := resultsFor(opts)
	if err != nil {
		return err
	}
	if len(opts.from) > 0 {
		err = collect(opts, res)
	} else {
		err = measure(ctx, opts, res)
	}
	if err != nil {
		return err
	}
	printReport(os.Stdout, res)
	if opts.write {
		return writeDocs(res, drawer)
	}
	return nil
}

// collect adds the results of other files.
func collect(opts *options, res *results) error {
	for _, file := range opts.from {
		more, err := readResults(file)
		if err != nil {
			return err
		}
		if err := res.merge(more); err != nil {
			return fmt.Errorf("add %s: %w", file, err)
		}
	}
	return res.save(opts.json)
}

// resultsFor returns the results so far, to which new ones are added.
func resultsFor(opts *options) (*results, error) {
	if opts.json == "" {
		return newResults(), nil
	}
	res, err := readResults(opts.json)
	if errors.Is(err, os.ErrNotExist) {
		return newResults(), nil
	}
	return res, err
}

// A bench is what the cells are measured with.
type bench struct {
	opts       *options
	work       string // a directory
	contenders []*contender
	sets       map[string]dataset
	remotes    map[string]string // repositories that are used again, by the data set that they are a copy of
}

// measure fills in the cells, and saves them as soon as they are measured.
func measure(ctx context.Context, opts *options, res *results) (err error) {
	work, err := os.MkdirTemp("", "ostree-push-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	spread(work)
	b := &bench{opts: opts, work: work, remotes: map[string]string{}}

	b.contenders, err = startContenders(opts, work)
	defer func() {
		for _, c := range b.contenders {
			err = errors.Join(err, c.server.Stop())
		}
	}()
	if err != nil {
		return err
	}
	opts.cases = slices.DeleteFunc(opts.cases, b.isForNobody)
	b.sets, err = b.prepare(ctx)
	if err != nil {
		return fmt.Errorf("prepare data sets: %w", err)
	}
	if err := res.use(b.sets); err != nil {
		return err
	}
	res.Environment = environment(ctx, opts)

	for _, name := range opts.cases {
		for _, l := range opts.links() {
			if over := pushes()[name].links; over != nil && !over(l) {
				continue
			}
			if err := b.measure(ctx, res, name, l); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := res.save(opts.json); err != nil {
				return err
			}
		}
	}
	return nil
}

// isForNobody tells whether no contender takes part in a case.
func (b *bench) isForNobody(name string) bool {
	nobody := !slices.ContainsFunc(b.contenders, func(c *contender) bool { return c.takesPart(name) })
	if nobody {
		logf("without %s: no contender takes part in it", name)
	}
	return nobody
}

// dataDir is where the data sets are.
func (opts *options) dataDir(work string) (string, error) {
	if opts.data == "" {
		return filepath.Join(work, "data"), nil
	}
	// The repositories are used by other processes, with other directories.
	return filepath.Abs(opts.data)
}
