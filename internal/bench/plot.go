package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plotted are the cases that are drawn, one beside the other.
func plotted() []string { return []string{"many", "big", "update"} }

// drawPlot draws the medians against the round-trip time, over the fastest
// links that were measured, as SVG.
func drawPlot(w io.Writer, res *results) error {
	canvas := vgsvg.New(27*vg.Centimeter, 10*vg.Centimeter)
	if err := drawPlots(draw.New(canvas), res); err != nil {
		return err
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The font is the one that everything was placed for. Not everybody has it.
	const family = "font-family:Liberation Sans"
	_, err := w.Write(bytes.ReplaceAll(svg.Bytes(), []byte(family+";"), []byte(family+",Arial,sans-serif;")))
	return err
}

// drawPlots draws the plots side by side, with the same seconds at the same
// height, and the legend right of them.
func drawPlots(canvas draw.Canvas, res *results) error {
	var plots []*plot.Plot
	least, most := math.Inf(1), math.Inf(-1)
	for _, name := range plotted() {
		p, err := casePlot(res, name)
		if err != nil {
			return err
		}
		least, most = min(least, p.Y.Min), max(most, p.Y.Max)
		plots = append(plots, p)
	}
	for _, p := range plots {
		p.Y.Min = math.Pow(10, math.Floor(math.Log10(least)))
		p.Y.Max = math.Pow(10, math.Ceil(math.Log10(most)))
	}
	plots[0].Y.Label.Text = "seconds"

	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	const legendWidth = 3.5 * vg.Centimeter
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Centimeter,
		PadTop: vg.Millimeter, PadBottom: vg.Millimeter, PadLeft: vg.Millimeter, PadRight: 4 * vg.Millimeter}
	for i, tile := range plot.Align([][]*plot.Plot{plots}, tiles, draw.Crop(canvas, 0, -legendWidth, 0, 0))[0] {
		plots[i].Draw(tile)
	}
	l := legend(res)
	l.Draw(draw.Crop(canvas, canvas.Size().X-legendWidth, 0, 0, -vg.Centimeter))
	return nil
}

func casePlot(res *results, name string) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = name
	p.X.Label.Text = "round trip, ms"
	p.X.Min, p.X.Max = 0, 1
	p.Y.Min, p.Y.Max = 1, 10
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle,
		&p.X.Tick.Label, &p.Y.Tick.Label} {
		style.Font.Variant = "Sans"
	}

	var ticks plot.ConstantTicks
	for _, c := range res.fastest(name) {
		x := milliseconds(c.RTT)
		ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprint(x)})
	}
	p.X.Tick.Marker = ticks

	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{220}, color.Gray{220}
	p.Add(grid)
	for _, contender := range contenderNames() {
		times, bounds := res.points(name, contender)
		line, points, err := plotter.NewLinePoints(times)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", contender, err)
		}
		line.LineStyle, points.GlyphStyle = lineOf(contender), glyphOf(contender)
		longer, err := plotter.NewScatter(bounds)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", contender, err)
		}
		longer.GlyphStyle = glyphOf(contender)
		longer.GlyphStyle.Shape = draw.PyramidGlyph{}
		longer.GlyphStyle.Radius *= 1.7
		// With no data, a plotter has no range, and spoils that of the plot.
		if len(times) > 0 {
			p.Add(line, points)
		}
		if len(bounds) > 0 {
			p.Add(longer)
		}
	}
	return p, nil
}

// legend explains the lines of all plots.
func legend(res *results) plot.Legend {
	l := plot.NewLegend()
	l.Top, l.Left = true, true
	l.TextStyle.Font.Variant = "Sans"
	l.Padding = vg.Millimeter
	var longer bool
	for _, contender := range contenderNames() {
		if !res.has(contender) {
			continue
		}
		l.Add(contender, &plotter.Line{LineStyle: lineOf(contender)}, &plotter.Scatter{GlyphStyle: glyphOf(contender)})
		for _, name := range plotted() {
			_, bounds := res.points(name, contender)
			longer = longer || len(bounds) > 0
		}
	}
	if longer {
		l.Add("longer than", &plotter.Scatter{GlyphStyle: draw.GlyphStyle{
			Color: color.Black, Radius: vg.Points(4), Shape: draw.PyramidGlyph{}}})
	}
	return l
}

// points returns the medians of a contender, and apart from them the times
// that it was only found to exceed.
func (res *results) points(name, contender string) (times, bounds plotter.XYs) {
	for _, c := range res.fastest(name) {
		q, err := c.Results[contender].seconds()
		if err != nil {
			continue
		}
		point := plotter.XY{X: milliseconds(c.RTT), Y: q.value}
		if q.orMore {
			bounds = append(bounds, point)
		} else {
			times = append(times, point)
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

func lineOf(contender string) draw.LineStyle {
	style := draw.LineStyle{Color: colors()[contender], Width: vg.Points(1.5)}
	if contender == tunnel || contender == tunnelPython {
		style.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
	}
	return style
}

func glyphOf(contender string) draw.GlyphStyle {
	return draw.GlyphStyle{Color: colors()[contender], Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
}

// colors are from the palette of Okabe and Ito, which everybody can tell apart.
func colors() map[string]color.Color {
	return map[string]color.Color{
		ours:         color.RGBA{0x00, 0x72, 0xb2, 0xff},
		tunnel:       color.RGBA{0x56, 0xb4, 0xe9, 0xff},
		tunnelPython: color.RGBA{0x00, 0x9e, 0x73, 0xff},
		python:       color.RGBA{0xd5, 0x5e, 0x00, 0xff},
		rsync:        color.RGBA{0x00, 0x00, 0x00, 0xff},
	}
}
