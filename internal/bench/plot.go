package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// drawer is the module that draws, from where the benchmark is run.
const drawer = "internal/bench/draw"

// plotted are the cases that are drawn, one beside the other.
func plotted() []string { return []string{"many", "big", "update"} }

// These are what the drawer reads.
type (
	picture struct {
		Plots  []plotData
		Legend []series // without points
	}
	plotData struct {
		Name   string
		Ticks  []float64 // round-trip times, in ms
		Series []series
	}
	series struct {
		Name   string
		Color  [3]int
		Dashed bool
		Times  []point
		Bounds []point // it took longer than that
	}
	point struct{ X, Y float64 } // round-trip time in ms, and seconds
)

// drawPlot draws the medians against the round-trip time, over the fastest
// links that were measured, as SVG. The drawer is in dir.
func drawPlot(w io.Writer, res *results, dir string) error {
	input, err := json.Marshal(pictureOf(res))
	if err != nil {
		return err
	}
	var stderr strings.Builder
	cmd := exec.Command("go", "run", "-C", dir, ".")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), w, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("draw the plot: %w: %s", err, stderr.String())
	}
	return nil
}

func pictureOf(res *results) picture {
	var p picture
	for _, contender := range contenderNames() {
		if res.has(contender) {
			p.Legend = append(p.Legend, seriesOf(contender))
		}
	}
	for _, name := range plotted() {
		data := plotData{Name: name}
		for _, c := range res.fastest(name) {
			data.Ticks = append(data.Ticks, milliseconds(c.RTT))
		}
		for _, contender := range contenderNames() {
			one := seriesOf(contender)
			one.Times, one.Bounds = res.points(name, contender)
			data.Series = append(data.Series, one)
		}
		p.Plots = append(p.Plots, data)
	}
	return p
}

// points returns the medians of a contender, and apart from them the times
// that it was only found to exceed.
func (res *results) points(name, contender string) (times, bounds []point) {
	for _, c := range res.fastest(name) {
		q, err := c.Results[contender].seconds()
		if err != nil {
			continue
		}
		at := point{milliseconds(c.RTT), q.value}
		if q.orMore {
			bounds = append(bounds, at)
		} else {
			times = append(times, at)
		}
	}
	return times, bounds
}

// fastest returns the cells of a case with the highest rate that was measured,
// one for each round-trip time.
func (res *results) fastest(name string) []*cell {
	var cells []*cell // of each time, the first is that with the highest rate
	for _, c := range res.Cells {
		if c.Case == name && (len(cells) == 0 || cells[len(cells)-1].RTT != c.RTT) {
			cells = append(cells, c)
		}
	}
	return cells
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// seriesOf returns a contender's name and looks. The colours are from the palette of
// Okabe and Ito, which everybody can tell apart.
func seriesOf(contender string) series {
	dashed := []string{tunnel, tunnelPython, rsyncSync}
	colors := map[string][3]int{
		ours:         {0x00, 0x72, 0xb2},
		before:       {0xcc, 0x79, 0xa7},
		tunnel:       {0x56, 0xb4, 0xe9},
		tunnelPython: {0x00, 0x9e, 0x73},
		python:       {0xd5, 0x5e, 0x00},
		rsync:        {0x00, 0x00, 0x00},
		rsyncSync:    {0x00, 0x00, 0x00},
	}
	return series{Name: contender, Color: colors[contender], Dashed: slices.Contains(dashed, contender)}
}
