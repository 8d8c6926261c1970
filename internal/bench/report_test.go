package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ostree-push/internal/link"
)

func TestReport(t *testing.T) {
	res := newResults()
	res.Environment = "a machine"
	res.Loads["many"] = load{Objects: 15000, Commits: 1, Bytes: 79.1e6}
	res.add("setup", far, ssh, 0.65)
	r := res.add("many", far, ours, 3.5)
	r.Sent, r.Received = []int64{80e6}, []int64{1e6}
	res.add("many", far, rsync, 3)
	res.add("many", far, rsyncSync, 3.25)
	res.add("many", far, tunnel, 123.4).Seconds = []float64{1234.5}
	slower := link.Link{RTT: 150 * time.Millisecond, Rate: 100e6}
	res.cell("many", far).Results[python] = &result{Over: 600}
	res.cell("many", slower).Results[python] = &result{Over: 600, LeftOut: "why"}
	res.cell("many", slower).Results[tunnelPython] = &result{Error: "no | pipe"}

	var got strings.Builder
	printReport(&got, res)
	const want = `a machine.

* ¦many¦: 15,000 objects, 79.1 MB

Medians in seconds.

| case | link | ours | tunnel | tunnel-python | python | rsync | rsync-sync | ssh | ours/rsync | ours/rsync-sync | ours on the wire |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| setup | 50 ms, 100 Mbit/s |  |  |  |  |  |  | 0.650 |  |  |  |
| many | 50 ms, 100 Mbit/s | 3.50 | 1,235 (1) |  | \>600 | 3.00 | 3.25 |  | 1.17 | 1.08 | 81 MB |
| many | 150 ms, 100 Mbit/s |  |  | failed | (\>600) |  |  |  |  |  |  |

(1): one run only. \>: ended after that time; in brackets: left out, since it
took that long on a link that is nowhere slower.

* many, 150 ms, 100 Mbit/s, tunnel-python failed: no | pipe

Targets: 0 met, 2 not met, 2 unknown.

| case | link | contender | at most | target | median |  |
| --- | --- | --- | --- | ---: | ---: | --- |
| many | 50 ms, 100 Mbit/s | ours | 1.25 × (setup + 4 round trips + max(bytes ÷ rate, time at 0 ms)) |  | 3.50 | **unknown: ours, many, 0 ms: not measured** |
| many | 50 ms, 100 Mbit/s | ours | rsync-sync | 3.25 | 3.50 | **not met** |
| many | 50 ms, 100 Mbit/s | tunnel | python | \>600 | 1,235 | **unknown** |
| many | 150 ms, 100 Mbit/s | tunnel-python | python |  |  | **not met: failed** |
`
	if diff := cmp.Diff(strings.ReplaceAll(want, "¦", "`"), got.String()); diff != "" {
		t.Error(diff)
	}

	got.Reset()
	printSummary(&got, res)
	for _, line := range []string{
		"15,000 objects, 79.1 MB, into an empty repository over 100 Mbit/s, in seconds:",
		"| round trip | 50 ms | 150 ms |",
		"| tunnel | 1,235 (1) |  |",
		"Of all targets: 0 met, 2 not met, 2 unknown.",
	} {
		if !slices.Contains(strings.Split(got.String(), "\n"), line) {
			t.Errorf("the summary lacks %q:\n%s", line, got.String())
		}
	}
}

func TestReportOfMemory(t *testing.T) {
	res := newResults()
	for name, peak := range map[string]int64{"memory": 150e6, "memory-bare": 90e6} {
		r := res.add(name, near, ours, 300)
		r.Seconds = []float64{300}
		r.ReceiverPeak = peak
	}
	var got strings.Builder
	printMemory(&got, res)
	const want = `
The most memory:

| case | contender | pusher | receiver | seconds |
| --- | --- | ---: | ---: | ---: |
| memory | ours |  | 150 MB | 300 (1) |
| memory-bare | ours |  | 90 MB | 300 (1) |
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

// Two builds are told apart, and their times compared.
func TestReportOfBuilds(t *testing.T) {
	res := newResults()
	res.add("many", near, ours, 1)
	res.add("many", near, before, 2)
	var got strings.Builder
	printTimes(&got, res)
	if want := "| many | 0 ms | 1.00 | 2.00 | 0.50 |  |\n"; !strings.Contains(got.String(), want) {
		t.Errorf("got:\n%s", got.String())
	}
}

func TestTableEscapes(t *testing.T) {
	var got strings.Builder
	table{left: 1, rows: [][]string{{"a|b"}, {"c\nd"}}}.print(&got)
	if want := "| a\\|b |\n| --- |\n| c; d |\n"; got.String() != want {
		t.Errorf("got:\n%s", got.String())
	}
}

// Results survive the file, and those that are added win, each contender's in
// each cell on its own.
func TestMerge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	old := sample()
	if err := old.save(file); err != nil {
		t.Fatal(err)
	}
	opts := &options{json: file}
	res, err := resultsFor(opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(old, res, cmp.AllowUnexported(cell{})); diff != "" {
		t.Errorf("read what was saved:\n%s", diff)
	}

	more := newResults()
	more.Loads["big"] = load{Objects: 1}
	more.add("many", far, rsync, 7)
	more.add("big", near, ours, 8)
	other := filepath.Join(t.TempDir(), "more.json")
	if err := more.save(other); err != nil {
		t.Fatal(err)
	}
	opts.from = []string{other}
	if err := collect(opts, res); err != nil {
		t.Fatal(err)
	}
	if res, err = readResults(file); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		contender string
		key       key
		want      float64
	}{
		{rsync, key{"many", far.RTT, far.Rate}, 7},
		{python, key{"many", far.RTT, far.Rate}, 1000},
		{ours, key{Case: "many"}, 2},
		{ours, key{Case: "big"}, 8},
	} {
		if got, err := res.secondsOf(test.contender, test.key); err != nil || got.value != test.want {
			t.Errorf("%s, %s: %v, %v", test.contender, test.key, got, err)
		}
	}
	if at := slices.IndexFunc(res.Cells, func(c *cell) bool { return c.Case == "big" }); at != 6 {
		t.Errorf("the new cell stands at %d, not between many and update", at)
	}

	more.Loads["many"] = load{Objects: 160}
	if err := res.merge(more); err == nil || !strings.Contains(err.Error(), "many: the results so far are of another data set") {
		t.Errorf("results of another data set: %v", err)
	}
}

func TestLinks(t *testing.T) {
	opts, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	opts.rates = append(opts.rates, 0)
	var got []string
	for _, l := range opts.links() {
		got = append(got, describe(l))
	}
	if want := "0 ms; 50 ms, unlimited; 50 ms, 1 Gbit/s; 50 ms, 100 Mbit/s; 150 ms, unlimited"; !strings.HasPrefix(strings.Join(got, "; "), want) || len(got) != 10 {
		t.Errorf("got %q", got)
	}
}

// What takes part, and in what, depends on other options.
func TestOptions(t *testing.T) {
	for _, test := range []struct {
		args              string
		contenders, cases string
		size              int
		err               string
	}{
		{"", "ours tunnel tunnel-python python rsync rsync-sync", strings.Join(timedCases(), " "), 10e9, ""},
		{"-before old -small", "ours before tunnel tunnel-python python rsync rsync-sync", strings.Join(timedCases(), " "), 100e6, ""},
		{"-memory -small -size 3M", "ours", "memory memory-archive memory-bare memory-refs", 3e6, ""},
		{"-memory -before old -cases memory-bare", "ours before", "memory-bare", 10e9, ""},
		{"-cases many -contenders rsync", "rsync", "many", 10e9, ""},
		{"-cases memory", "", "", 0, `-cases: "memory" is none of setup, many,`},
		{"-memory -cases many", "", "", 0, `-cases: "many" is none of memory, memory-archive,`},
		{"-cases many,lots", "", "", 0, `"lots" is none of setup,`},
	} {
		opts, err := parse(strings.Fields(test.args))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v", test.args, err)
			}
			continue
		}
		if err != nil || strings.Join(opts.contenders, " ") != test.contenders || strings.Join(opts.cases, " ") != test.cases || opts.size != test.size {
			t.Errorf("%s: %q, %q, %d, %v", test.args, opts.contenders, opts.cases, opts.size, err)
		}
	}
}

func TestWrite(t *testing.T) {
	drawer, err := filepath.Abs("draw")
	if err != nil {
		t.Fatal(err)
	}
	skipWithoutDrawer(t)
	t.Chdir(t.TempDir())
	if err := os.Mkdir("docs", 0o755); err != nil {
		t.Fatal(err)
	}
	const before, after = "# Title\n<!-- bench -->\n", "<!-- /bench -->\nend\n"
	for _, file := range []string{readme, document} {
		if err := os.WriteFile(file, []byte(before+"old\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkDocs(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := writeDocs(sample(), drawer); err != nil {
			t.Fatal(err)
		}
		for file, line := range map[string]string{
			readme:   "![Time against round-trip time](docs/benchmark.svg)\n",
			document: "![Time against round-trip time](benchmark.svg)\n",
		} {
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := string(got)
			if !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) || strings.Contains(text, "old\n") || strings.Count(text, line) != 1 {
				t.Errorf("%s is\n%s", file, text)
			}
		}
	}
	if info, err := os.Stat(plotFile); err != nil || info.Size() == 0 {
		t.Errorf("no picture: %v", err)
	}
	if err := os.WriteFile(readme, []byte("no marks\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkDocs(); err == nil || !strings.HasPrefix(err.Error(), "README.md: there are no lines") {
		t.Errorf("without marks: %v", err)
	}
}

// curve finds a line that is drawn in the color of ours.
var curve = regexp.MustCompile(`<path d="(M[^"]*)" style="fill:none;stroke:#0072B2`)

func TestPlot(t *testing.T) {
	res := sample()
	for _, l := range []link.Link{far, fast, {RTT: 150 * time.Millisecond, Rate: 1e9}} {
		res.add("many", l, ours, 10*l.RTT.Seconds())
	}
	first := svgOf(t, res)
	texts := textsOf(t, first)
	for _, text := range []string{"many", "big", "update", "seconds", "round trip, ms", "50", "150", ours, rsync, python} {
		if !slices.Contains(texts, text) {
			t.Errorf("the text %q is not there", text)
		}
	}
	for _, text := range []string{tunnel, "longer than"} {
		if slices.Contains(texts, text) {
			t.Errorf("the text %q explains nothing", text)
		}
	}
	found := curve.FindStringSubmatch(first)
	if found == nil || strings.Count(found[1], "L") != 2 {
		t.Errorf("the line of ours is not one of three points: %q", found)
	}
	if svgOf(t, res) != first {
		t.Error("the same results look different")
	}

	// The slower link at 50 ms is not drawn, the faster one is.
	res.add("many", far, ours, 77)
	if svgOf(t, res) != first {
		t.Error("the slower link is drawn")
	}
	res.find(key{"many", fast.RTT, fast.Rate}).Results[ours] = &result{Over: 600}
	second := svgOf(t, res)
	if found := curve.FindStringSubmatch(second); found == nil || strings.Count(found[1], "L") != 1 {
		t.Errorf("the line goes through a time that is not known: %q", found)
	}
	if !slices.Contains(textsOf(t, second), "longer than") {
		t.Error("the mark of an unknown time is not explained")
	}

	svgOf(t, newResults()) // has to be something that can be drawn
}

// textPlace finds where a text begins, and what it says.
var textPlace = regexp.MustCompile(`<text x="([0-9.]+)"[^>]*font-size:([0-9.]+)px">([^<]*)<`)

// What explains the lines is seen to its end, also in a font that is wider than the one of the picture.
func TestLegendFits(t *testing.T) {
	res := sample()
	for _, contender := range contenderNames() {
		res.add("many", far, contender, 1)
	}
	svg := svgOf(t, res)
	var width float64
	if _, err := fmt.Sscanf(svg[strings.Index(svg, "viewBox"):], `viewBox="0 0 %g `, &width); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, match := range textPlace.FindAllStringSubmatch(svg, -1) {
		var x, size float64
		if _, err := fmt.Sscan(match[1]+" "+match[2], &x, &size); err != nil {
			t.Fatal(err)
		}
		const widest = 0.62 // of a letter's height: DejaVu's and Verdana's, on average
		if end := x + widest*size*float64(len(match[3])); end > width {
			t.Errorf("%q ends at %.1f, and the picture at %.1f", match[3], end, width)
		}
		seen[match[3]] = true
	}
	for _, contender := range contenderNames() {
		if !seen[contender] {
			t.Errorf("there is no %s in the picture", contender)
		}
	}
}

// skipWithoutDrawer skips a test in a source archive, where the modules that draw are not
// bundled.
func skipWithoutDrawer(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../../vendor"); err == nil {
		t.Skip("this source archive does not have the modules that draw")
	}
}

func svgOf(t *testing.T, res *results) string {
	t.Helper()
	skipWithoutDrawer(t)
	var svg bytes.Buffer
	if err := drawPlot(&svg, res, "draw"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(svg.String(), "NaN") {
		t.Error("a coordinate is not a number")
	}
	return svg.String()
}

// textsOf returns the texts of a picture, which has to be XML.
func textsOf(t *testing.T, svg string) []string {
	t.Helper()
	var texts []string
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			texts = append(texts, strings.TrimSpace(string(data)))
		}
	}
}
