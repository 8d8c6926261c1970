// Bench compares ostree-push with the Python program that it replaces, and
// with rsync, which knows nothing of OSTree but sets the mark for copying
// files through ssh.
//
// It times whole processes, connection set-up included, between a private sshd
// and an emulated link, and prints medians as a Markdown table.
package main

import (
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

Options:
    -ours DIR          directory with our ostree-push, ostree-receive and
                       ostree-receive-1; without it, ours does not take part
    -python DIR        directory with the Python program (default /usr/bin)
    -contenders LIST   of ours, python, rsync (default: all that there are)
    -cases LIST        of these (default many,big):
                         many    15,000 small objects into an empty repository
                         big     3,000 larger objects into an empty repository
                         update  a commit on top of many that changes 1 %
                         none    many once more: nothing is to be done
    -rtt LIST          round-trip times of the link, such as 0,50ms,150ms (default 0)
    -rate LIST         rates of the link in bit/s, such as 0,100M,1G, where 0 is
                       unlimited (default 0)
    -runs N            runs of each contender in each cell (default 3)
    -timeout DURATION  end a run after this time (default 120s)
    -enough DURATION   one run is enough when it took this long (default 15s)
    -data DIR          keep the data sets here for the next time
    -json FILE         write all figures to FILE, too

With no round-trip time and no rate there is no link: the contenders connect
to sshd itself. Repositories are below $TMPDIR; /dev/shm leaves the disk out.
`

type options struct {
	ours, python string
	contenders   []string
	cases        []string
	rtts         []time.Duration
	rates        []int64
	runs         int
	timeout      time.Duration
	enough       time.Duration
	data         string
	json         string
}

func main() {
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
		contenders: []string{"ours", "python", "rsync"},
		cases:      []string{"many", "big"},
		rtts:       []time.Duration{0},
		rates:      []int64{0},
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&opts.ours, "ours", "", "")
	f.StringVar(&opts.python, "python", "/usr/bin", "")
	f.Func("contenders", "", list(&opts.contenders, oneOf("ours", "python", "rsync")))
	f.Func("cases", "", list(&opts.cases, oneOf("many", "big", "update", "none")))
	f.Func("rtt", "", list(&opts.rtts, time.ParseDuration))
	f.Func("rate", "", list(&opts.rates, parseRate))
	f.IntVar(&opts.runs, "runs", 3, "")
	f.DurationVar(&opts.timeout, "timeout", 120*time.Second, "")
	f.DurationVar(&opts.enough, "enough", 15*time.Second, "")
	f.StringVar(&opts.data, "data", "", "")
	f.StringVar(&opts.json, "json", "", "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if opts.runs < 1 {
		return nil, errors.New("-runs must be at least 1")
	}
	return opts, nil
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

func oneOf(words ...string) func(string) (string, error) {
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

func run(ctx context.Context, opts *options) (err error) {
	work, err := os.MkdirTemp("", "ostree-push-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	spread(work)

	contenders, err := startContenders(opts, work)
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.server.Stop())
		}
	}()
	if err != nil {
		return err
	}

	data := opts.data
	if data == "" {
		data = filepath.Join(work, "data")
	}
	sets, err := prepare(ctx, data, work, opts.cases)
	if err != nil {
		return fmt.Errorf("prepare data sets: %w", err)
	}

	var cells []*cell
	for _, name := range opts.cases {
		for _, rtt := range opts.rtts {
			for _, rate := range opts.rates {
				c := newCell(name, link.Link{RTT: rtt, Rate: rate}, contenders)
				if err := c.measure(ctx, opts, contenders, sets, work); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				cells = append(cells, c)
			}
		}
	}

	printTable(os.Stdout, cells, contenders, sets)
	if opts.json != "" {
		return writeJSON(opts.json, cells)
	}
	return nil
}
