package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgsvg" // for WriterTo
)

const (
	chartWidth = 18 * vg.Centimeter
	lineHeight = 0.8 * vg.Centimeter // of a bar or a box with what is around it
	barWidth   = 0.45 * vg.Centimeter
)

var (
	verdicts      = []string{reached, missed, noise}
	verdictColors = map[string]color.Color{
		reached: color.RGBA{R: 0x2e, G: 0x7d, B: 0x32, A: 0xff},
		missed:  color.RGBA{R: 0xc6, G: 0x28, B: 0x28, A: 0xff},
		noise:   color.Gray{Y: 0xa0},
	}
	aimColor = color.Gray{Y: 0x60}
)

// chart is a picture of the page.
type chart struct {
	file, title string
	draw        func() (*plot.Plot, int, error) // and how many lines it has
}

// charts are the pictures of what was measured.
func (r *report) charts() []chart {
	s := r.Samples
	return []chart{
		{"bench-aims.svg", "Every aim, and how much of it is used up", func() (*plot.Plot, int, error) { return aimsChart(r.aims()) }},
		{"bench-start.svg", "Create → first exec", func() (*plot.Plot, int, error) {
			return boxes("ms", []box{
				{"bare QEMU", s["bare.total"]}, {"banger, Go client", s["api.total"]}, {"banger, as typed", s["cli.total"]},
			})
		}},
		{"bench-silence.svg", "Silence of an open stream while the daemon is gone", func() (*plot.Plot, int, error) {
			return boxes("ms", []box{
				{"session, daemon killed", s["silent.session.killed"]}, {"session, daemon stopped", s["silent.session.stopped"]},
				{"port, daemon killed", s["silent.port.killed"]}, {"port, daemon stopped", s["silent.port.stopped"]},
			})
		}},
	}
}

// drawCharts writes the pictures into dir.
func (r *report) drawCharts(dir string) error {
	var errs []error
	for _, c := range r.charts() {
		svg, err := c.svg()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, c.file), svg, 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c chart) svg() ([]byte, error) {
	p, lines, err := c.draw()
	if err != nil {
		return nil, fmt.Errorf("cannot draw %s: %w", c.file, err)
	}
	p.Title.Text = c.title
	p.Title.Padding = vg.Points(8)
	w, err := p.WriterTo(chartWidth, vg.Length(lines+2)*lineHeight, "svg")
	if err != nil {
		return nil, fmt.Errorf("cannot draw %s: %w", c.file, err)
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}

// newPlot has room for lines with these names, the first at the top.
func newPlot(names []string) *plot.Plot {
	plot.DefaultFont.Variant, plotter.DefaultFont.Variant = "Sans", "Sans"
	p := plot.New()
	upward := make([]string, len(names))
	for i, name := range names {
		upward[len(names)-1-i] = name
	}
	p.NominalY(upward...)
	p.X.Min = 0
	p.Y.Padding = barWidth
	return p
}

// aimsChart has a bar for each aim, as a share of what is allowed; grey is what cannot be told
// from the noise.
func aimsChart(aims []aim) (*plot.Plot, int, error) {
	if len(aims) == 0 {
		return nil, 0, errors.New("there are no aims")
	}
	names := make([]string, len(aims))
	bars := map[string]plotter.Values{}
	for _, verdict := range verdicts {
		bars[verdict] = make(plotter.Values, len(aims))
	}
	labels := plotter.XYLabels{}
	most := 100.0
	for i, a := range aims {
		at, share := len(aims)-1-i, max(0, 100*a.value.Medians/a.most)
		names[i], most = a.short, max(most, share)
		bars[a.value.verdict(a.most)][at] = share
		labels.XYs = append(labels.XYs, plotter.XY{X: share, Y: float64(at)})
		labels.Labels = append(labels.Labels, fmt.Sprintf("%s of %.0f %s", ms(a.value.Medians), a.most, a.unit))
	}
	p := newPlot(names)
	p.X.Label.Text = "% of what is allowed"
	p.X.Max = most * 1.35 // the labels need room
	for _, verdict := range verdicts {
		some, err := plotter.NewBarChart(bars[verdict], barWidth)
		if err != nil {
			return nil, 0, err
		}
		some.Horizontal, some.Color, some.LineStyle.Width = true, verdictColors[verdict], 0
		p.Add(some)
	}
	limit, err := plotter.NewLine(plotter.XYs{{X: 100, Y: -0.5}, {X: 100, Y: float64(len(aims)) - 0.5}})
	if err != nil {
		return nil, 0, err
	}
	limit.Color, limit.Dashes = aimColor, []vg.Length{vg.Points(3), vg.Points(3)}
	text, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, 0, err
	}
	text.Offset = vg.Point{X: vg.Points(4)}
	for i := range text.TextStyle {
		text.TextStyle[i].YAlign = draw.YCenter
	}
	p.Add(limit, text)
	return p, len(aims), nil
}

// box is a line of a chart: all samples of one thing.
type box struct {
	name    string
	samples []float64
}

// boxes has a line for each: the median, the quartiles, and how far the others are from these.
func boxes(unit string, all []box) (*plot.Plot, int, error) {
	var names []string
	for _, b := range all {
		names = append(names, b.name)
	}
	p := newPlot(names)
	p.X.Label.Text = unit
	for i, b := range all {
		plotted, err := plotter.NewBoxPlot(barWidth, float64(len(all)-1-i), plotter.Values(b.samples))
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", b.name, err)
		}
		plotted.Horizontal = true
		p.Add(plotted)
	}
	p.X.Min, p.X.Max = 0, p.X.Max*1.05
	return p, len(all), nil
}
