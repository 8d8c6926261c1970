package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// printReport writes all results as Markdown.
func printReport(w io.Writer, res *results) {
	fmt.Fprintf(w, "%s.\n\n", res.Environment)
	printLoads(w, res)
	fmt.Fprintf(w, "Medians in seconds.\n\n")
	printTimes(w, res)
	printMemory(w, res)
	fmt.Fprintf(w, "\nTargets: %s.\n\n", tally(res.verdicts()))
	printTargets(w, res.verdicts())
}

// printSummary writes what the README shows: how the time of the smallest
// objects grows with the round trip.
func printSummary(w io.Writer, res *results) {
	const name = "many"
	t := table{left: 1, rows: [][]string{{"round trip"}}}
	cells := res.fastest(name)
	for _, c := range cells {
		t.rows[0] = append(t.rows[0], fmt.Sprintf("%g ms", milliseconds(c.RTT)))
	}
	for _, contender := range contenderNames() {
		row := []string{contender}
		for _, c := range cells {
			row = append(row, c.Results[contender].String())
		}
		if res.has(contender) {
			t.rows = append(t.rows, row)
		}
	}
	l := res.Loads[name]
	fmt.Fprintf(w, "%s objects, %s, into an empty repository%s, in seconds:\n\n",
		humanize.Comma(int64(l.Objects)), bytesString(l.Bytes), overRate(cells))
	t.print(w)
	fmt.Fprintf(w, "\n0 ms is loopback itself. %s\n", footnotes)
	fmt.Fprintf(w, "\nOf all targets: %s.\n\n", tally(res.verdicts()))
	fmt.Fprintf(w, "![Time against round-trip time](%s)\n", plotFile)
}

// overRate says which rate the links of the cells have, if they have one.
func overRate(cells []*cell) string {
	for _, c := range cells {
		if c.Rate != 0 {
			return " over " + rateString(c.Rate)
		}
	}
	return ""
}

func printLoads(w io.Writer, res *results) {
	for _, name := range caseNames() {
		if l := res.Loads[name]; l != (load{}) {
			fmt.Fprintf(w, "* `%s`: %s\n", name, l)
		}
	}
	fmt.Fprintln(w)
}

func (l load) String() string {
	of := ""
	if l.Refs > 0 {
		of = humanize.Comma(int64(l.Refs)) + " refs, "
	}
	return fmt.Sprintf("%s%s objects, %s", of, humanize.Comma(int64(l.Objects)), bytesString(l.Bytes))
}

const footnotes = `(1): one run only. \>: ended after that time; in brackets: left out, since it
took that long on a link that is nowhere slower.`

// printTimes writes a row for each cell, and below the table what its figures
// do not tell.
func printTimes(w io.Writer, res *results) {
	names := append(contenderNames(), ssh)
	names = slices.DeleteFunc(names, func(name string) bool { return !res.has(name) })
	head := []string{"case", "link"}
	head = append(head, names...)
	compared := comparedWith(names)
	for _, name := range compared {
		head = append(head, "ours/"+name)
	}
	if res.has(ours) {
		head = append(head, "ours on the wire")
	}
	t := table{left: 2, rows: [][]string{head}}
	for _, c := range res.Cells {
		if !slices.Contains(timedCases(), c.Case) {
			continue
		}
		row := []string{c.Case, describe(c.link())}
		for _, name := range names {
			row = append(row, c.Results[name].String())
		}
		for _, name := range compared {
			row = append(row, ratio(c.Results[ours], c.Results[name]))
		}
		if res.has(ours) {
			wire := ""
			if bytes, err := c.Results[ours].wire(); err == nil {
				wire = bytesString(int64(bytes.value))
			}
			row = append(row, wire)
		}
		t.rows = append(t.rows, row)
	}
	t.print(w)
	fmt.Fprintf(w, "\n%s\n", footnotes)
	var failures []string
	for _, c := range res.Cells {
		for _, name := range names {
			if r := c.Results[name]; r != nil && r.Error != "" {
				failures = append(failures, fmt.Sprintf("\n* %s, %s failed: %s", c, name, r.Error))
			}
		}
	}
	if len(failures) > 0 {
		fmt.Fprintln(w, strings.Join(failures, ""))
	}
}

// comparedWith returns those of the contenders whose times ours are divided by.
func comparedWith(names []string) []string {
	if !slices.Contains(names, ours) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !onlyObjects(name) && name != before })
}

// printMemory writes what was measured of memory, if it was.
func printMemory(w io.Writer, res *results) {
	t := table{left: 2, rows: [][]string{{"case", "contender", "pusher", "receiver", "seconds"}}}
	for _, name := range memoryCases() {
		for _, contender := range contenderNames() {
			if r := res.result(contender, key{Case: name}); r != nil {
				t.rows = append(t.rows, []string{name, contender, memoryString(r.pusherPeak()), memoryString(r.receiverPeak()), r.String()})
			}
		}
	}
	if len(t.rows) > 1 {
		fmt.Fprintf(w, "\nThe most memory:\n\n")
		t.print(w)
	}
}

// memoryString shows nothing of what is not known.
func memoryString(q quantity, err error) string {
	if err != nil {
		return ""
	}
	return bytesString(int64(q.value))
}

func (res *results) has(contender string) bool {
	return slices.ContainsFunc(res.Cells, func(c *cell) bool { return c.Results[contender] != nil })
}

func printTargets(w io.Writer, verdicts []verdict) {
	t := table{left: 4, right: 1, rows: [][]string{{"case", "link", "contender", "at most", "target", "median", ""}}}
	for _, v := range verdicts {
		row := []string{v.cell.Case, describe(v.cell.link()), v.contender, v.says,
			v.format(v.limit), v.format(v.measured), string(v.outcome)}
		if v.why != nil {
			row[6] += ": " + v.why.Error()
		}
		if v.outcome != met {
			row[6] = "**" + row[6] + "**"
		}
		t.rows = append(t.rows, row)
	}
	t.print(w)
}

// format returns nothing for what is not known.
func (v verdict) format(q quantity) string {
	if q == (quantity{}) {
		return ""
	}
	more := ""
	if q.orMore {
		more = `\>`
	}
	if v.bytes {
		return more + bytesString(int64(q.value))
	}
	return more + secondsString(q.value)
}

func tally(verdicts []verdict) string {
	n := map[outcome]int{}
	for _, v := range verdicts {
		n[v.outcome]++
	}
	return fmt.Sprintf("%d met, %d not met, %d unknown", n[met], n[notMet], n[unknown])
}

// A table is one in Markdown, whose first row is its head.
type table struct {
	left, right int // columns of text on either side; numbers are between them
	rows        [][]string
}

func (t table) print(w io.Writer) {
	for i, row := range t.rows {
		cells := make([]string, len(row))
		for j, text := range row {
			cells[j] = strings.ReplaceAll(strings.ReplaceAll(text, "\n", "; "), "|", `\|`)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			rule := slices.Repeat([]string{"---"}, len(row))
			copy(rule[t.left:len(row)-t.right], slices.Repeat([]string{"---:"}, len(row)))
			fmt.Fprintf(w, "| %s |\n", strings.Join(rule, " | "))
		}
	}
}

func (r *result) String() string {
	q, err := r.seconds()
	switch {
	case r == nil:
		return ""
	case err != nil:
		return err.Error()
	case r.LeftOut != "":
		return fmt.Sprintf(`(\>%s)`, secondsString(q.value))
	case q.orMore:
		return `\>` + secondsString(q.value)
	case len(r.Seconds) == 1:
		return secondsString(q.value) + " (1)"
	}
	return secondsString(q.value)
}

// ratio is empty unless both are known.
func ratio(a, b *result) string {
	x, errX := a.seconds()
	y, errY := b.seconds()
	if errX != nil || errY != nil || x.orMore || y.orMore {
		return ""
	}
	return fmt.Sprintf("%.2f", x.value/y.value)
}

// secondsString shows three digits, and no fraction from 100 on.
func secondsString(s float64) string {
	switch {
	case s < 1:
		return fmt.Sprintf("%.3f", s)
	case s < 10:
		return fmt.Sprintf("%.2f", s)
	case s < 100:
		return fmt.Sprintf("%.1f", s)
	}
	return humanize.Comma(int64(s + 0.5))
}

func bytesString(n int64) string {
	value, prefix := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.3g %sB", value, prefix)
}
