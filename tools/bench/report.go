package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// report collects the results. All times are in milliseconds.
type report struct {
	Samples map[string][]float64 `json:"samples_ms"`
	Memory  memoryReport         `json:"memory"`
	Crowd   crowdReport          `json:"crowd"`
	Notes   []string             `json:"notes,omitempty"`

	Made         int  `json:"vms_made"`      // from one image
	ImageTouched bool `json:"image_touched"` // while they were made
}

// memoryReport is the daemon's memory without VMs and with many.
type memoryReport struct {
	VMs   int    `json:"vms"`
	Empty memory `json:"with_0_vms"`
	Full  memory `json:"with_all_vms"`

	Forwarders []memory `json:"forwarders"` // of those VMs that publish a port
}

func (r *report) add(name string, d time.Duration) {
	if r.Samples == nil {
		r.Samples = map[string][]float64{}
	}
	r.Samples[name] = append(r.Samples[name], float64(d.Nanoseconds()/1000)/1000)
}

func (r *report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// write writes bench.json, bench.md and its charts into dir.
func (r *report) write(dir string, m machineLine) error {
	summaries := map[string]summary{}
	for name, samples := range r.Samples {
		summaries[name] = summarize(samples)
	}
	data, err := json.MarshalIndent(struct {
		Schema    int                `json:"schema"`
		Command   string             `json:"command"`
		Machine   machineLine        `json:"machine"`
		Summaries map[string]summary `json:"summaries_ms"`
		*report
	}{1, "make bench", m, summaries, r}, "", " ")
	if err != nil {
		return err
	}
	text := r.markdown(m)
	fmt.Print(text)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "bench.json"), append(data, '\n'), 0o644),
		r.drawCharts(dir),
		writePart(filepath.Join(dir, "bench.md"), "", text))
}

// page is Markdown that is being written.
type page struct{ strings.Builder }

func (p *page) say(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) table(head ...string) {
	p.say("\n| %s |\n|%s", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
}

// row is one line of a table: a name and its samples.
func (p *page) row(what string, samples []float64) {
	s := summarize(samples)
	if s.N == 0 {
		p.say("| %s | 0 | – | – | – | – |", what)
		return
	}
	p.say("| %s | %d | %s | %s | %s | %s |", what, s.N, ms(s.P50), ms(s.P90), ms(s.Min), ms(s.Max))
}

// ms formats milliseconds with the significant digits.
func ms(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
