// Command draw draws what the benchmark has measured, as SVG: it reads a picture as
// JSON from standard input. It is a module of its own, so that what it needs is not
// needed by whoever builds or packages the program.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// picture is what internal/bench has to draw.
type picture struct {
	Plots  []plotData
	Legend []series // without points
}

// plotData is one of the plots, which stand side by side.
type plotData struct {
	Name   string
	Ticks  []float64 // round-trip times, in ms
	Series []series
}

// series are the times of one contender.
type series struct {
	Name   string
	Color  [3]uint8
	Dashed bool
	Times  plotter.XYs // round-trip time in ms, and seconds
	Bounds plotter.XYs // it took longer than that
}

func main() {
	var p picture
	err := json.NewDecoder(os.Stdin).Decode(&p)
	if err == nil {
		err = drawPicture(os.Stdout, p)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "draw: %v\n", err)
		os.Exit(1)
	}
}

// plotsWidth is what all plots take side by side.
const plotsWidth = 23.5 * vg.Centimeter

// drawPicture draws times against round-trip times.
func drawPicture(w io.Writer, p picture) error {
	key := legend(p)
	width := legendWidth(key)
	canvas := vgsvg.New(plotsWidth+width, 10*vg.Centimeter)
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	if err := drawPlots(draw.Crop(page, 0, -width, 0, 0), p); err != nil {
		return err
	}
	key.Draw(draw.Crop(page, plotsWidth, 0, 0, -vg.Centimeter))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The font is the one that everything was placed for. Not everybody has it.
	const family = "font-family:Liberation Sans"
	_, err := w.Write(bytes.ReplaceAll(svg.Bytes(), []byte(family+";"), []byte(family+",Arial,sans-serif;")))
	return err
}

// legendWidth returns what a legend takes, with room for a font that is wider than the one that it is placed for.
func legendWidth(l plot.Legend) vg.Length { return l.Rectangle(draw.Canvas{}).Size().X * 1.3 }

// drawPlots draws the plots side by side, with the same seconds at the same
// height.
func drawPlots(canvas draw.Canvas, pic picture) error {
	var plots []*plot.Plot
	least, most := math.Inf(1), math.Inf(-1)
	for _, data := range pic.Plots {
		p, err := casePlot(data)
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

	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Centimeter,
		PadTop: vg.Millimeter, PadBottom: vg.Millimeter, PadLeft: vg.Millimeter, PadRight: 4 * vg.Millimeter}
	for i, tile := range plot.Align([][]*plot.Plot{plots}, tiles, canvas)[0] {
		plots[i].Draw(tile)
	}
	return nil
}

func casePlot(data plotData) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = data.Name
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
	for _, x := range data.Ticks {
		ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprint(x)})
	}
	p.X.Tick.Marker = ticks

	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{220}, color.Gray{220}
	p.Add(grid)
	for _, one := range data.Series {
		line, points, err := plotter.NewLinePoints(one.Times)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", one.Name, err)
		}
		line.LineStyle, points.GlyphStyle = lineOf(one), glyphOf(one)
		longer, err := plotter.NewScatter(one.Bounds)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", one.Name, err)
		}
		longer.GlyphStyle = glyphOf(one)
		longer.GlyphStyle.Shape = draw.PyramidGlyph{}
		longer.GlyphStyle.Radius *= 1.7
		// With no data, a plotter has no range, and spoils that of the plot.
		if len(one.Times) > 0 {
			p.Add(line, points)
		}
		if len(one.Bounds) > 0 {
			p.Add(longer)
		}
	}
	return p, nil
}

// legend explains the lines of all plots.
func legend(pic picture) plot.Legend {
	l := plot.NewLegend()
	l.Top, l.Left = true, true
	l.TextStyle.Font.Variant = "Sans"
	l.Padding = vg.Millimeter
	for _, one := range pic.Legend {
		l.Add(one.Name, &plotter.Line{LineStyle: lineOf(one)}, &plotter.Scatter{GlyphStyle: glyphOf(one)})
	}
	if hasBounds(pic) {
		l.Add("longer than", &plotter.Scatter{GlyphStyle: draw.GlyphStyle{
			Color: color.Black, Radius: vg.Points(4), Shape: draw.PyramidGlyph{}}})
	}
	return l
}

func hasBounds(pic picture) bool {
	for _, data := range pic.Plots {
		for _, one := range data.Series {
			if len(one.Bounds) > 0 {
				return true
			}
		}
	}
	return false
}

func lineOf(one series) draw.LineStyle {
	style := draw.LineStyle{Color: colorOf(one), Width: vg.Points(1.5)}
	if one.Dashed {
		style.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
	}
	return style
}

func glyphOf(one series) draw.GlyphStyle {
	return draw.GlyphStyle{Color: colorOf(one), Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
}

func colorOf(one series) color.Color {
	return color.RGBA{one.Color[0], one.Color[1], one.Color[2], 0xff}
}
