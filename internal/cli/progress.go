package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"banger/api"
	"banger/internal/size"
)

// quiet is the time before which no progress is shown: starting a VM from cached files
// prints nothing.
const quiet = 400 * time.Millisecond

// The minimum times between two draws of the live line and between two plain lines.
const (
	drawEvery  = 100 * time.Millisecond
	plainEvery = 10 * time.Second
)

// progress shows the progress of long work: one live line on a terminal, otherwise a few
// plain lines.
type progress struct {
	std    *streams
	live   bool
	colour bool
	width  func() int
	now    func() time.Time

	began time.Time
	drawn bool      // a live line is on the screen
	last  time.Time // when something was shown
	noted map[string]bool
	step  string
	rate  rate
	early *time.Timer // shows an early report if nothing follows
}

func (s *streams) newProgress() *progress {
	_, tty := terminal(s.err)
	p := &progress{
		std: s, live: tty && s.env("TERM") != "dumb", colour: s.colour(s.err),
		width: func() int { return width(s.err) }, now: time.Now,
	}
	p.began = p.now()
	return p
}

// report shows one report. It is an api.Report, and safe for concurrent use.
func (p *progress) report(r api.Progress) { p.named("")(r) }

// withSpec returns a report that prints what a new VM is like, which others leave out, with more
// after it.
func (p *progress) withSpec(more string) api.Report {
	return func(r api.Progress) {
		if r.Step == api.StepSpec {
			r.Step, r.Message = api.StepNote, "spec: "+r.Message+more
		}
		p.report(r)
	}
}

// named returns a report for one of several concurrent pieces of work.
func (p *progress) named(name string) api.Report {
	if name != "" {
		name += ": "
	}
	return func(r api.Progress) {
		p.std.mu.Lock()
		defer p.std.mu.Unlock()
		p.show(name, r)
	}
}

func (p *progress) show(name string, r api.Progress) {
	r.Message = printable(strings.ReplaceAll(r.Message, "\n", " "))
	switch r.Step {
	case api.StepNote:
		p.note(r.Message)
		return
	case api.StepSpec:
		return
	}
	now := p.now()
	key := name + r.Step
	changed := key != p.step
	if changed {
		p.step = key
		p.rate = rate{}
	}
	p.rate.add(now, r.Done)
	p.drop()
	switch age := now.Sub(p.began); {
	case age < quiet:
		p.later(quiet-age, name, r)
	case p.live && (changed || now.Sub(p.last) >= drawEvery || r.Done == r.Total):
		p.print(name, r)
	case !p.live && (changed || now.Sub(p.last) >= plainEvery):
		p.print(name, r)
	}
}

func (p *progress) print(name string, r api.Progress) {
	p.last = p.now()
	if p.live {
		p.draw(name, r)
		return
	}
	fmt.Fprintln(p.std.err, strings.TrimRight("banger: "+name+headline(r)+detail(r, 0), " "))
}

// note prints a message above the live line, each message once.
func (p *progress) note(message string) {
	if p.noted[message] {
		return
	}
	if p.noted == nil {
		p.noted = map[string]bool{}
	}
	p.noted[message] = true
	p.clear()
	fmt.Fprintln(p.std.err, "banger: "+message)
}

// done removes the live line from the screen.
func (p *progress) done() {
	p.std.mu.Lock()
	defer p.std.mu.Unlock()
	p.drop()
	p.clear()
}

// later prints an early report after d, unless another report or the end comes first.
func (p *progress) later(d time.Duration, name string, r api.Progress) {
	var own *time.Timer
	own = time.AfterFunc(d, func() {
		p.std.mu.Lock()
		defer p.std.mu.Unlock()
		if p.early == own {
			p.print(name, r)
		}
	})
	p.early = own
}

// drop cancels the delayed report.
func (p *progress) drop() {
	if p.early != nil {
		p.early.Stop()
		p.early = nil
	}
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.std.err, "\r\x1b[K")
		p.drawn = false
	}
}

// draw replaces the live line.
func (p *progress) draw(name string, r api.Progress) {
	text := name + headline(r)
	tail := bar(r) + detail(r, p.rate.perSecond())
	room := p.width() - 1
	if utf8.RuneCountInString(text)+utf8.RuneCountInString(tail) > room {
		tail = detail(r, 0)
	}
	text = clip(text, max(0, room-utf8.RuneCountInString(tail)))
	tail = clip(tail, room)
	if p.colour {
		tail = "\x1b[2m" + tail + "\x1b[0m" // faint
	}
	fmt.Fprintf(p.std.err, "\r\x1b[K%s%s", text, tail)
	p.drawn = true
}

func headline(r api.Progress) string {
	if r.Message != "" {
		return r.Message
	}
	return r.Step
}

const barWidth = 20

func bar(r api.Progress) string {
	if r.Total <= 0 {
		return ""
	}
	full := int(min(r.Total, max(0, r.Done)) * barWidth / r.Total)
	return "  [" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}

// detail formats the progress, its rate, and the remaining time.
func detail(r api.Progress, perSecond float64) string {
	var b strings.Builder
	switch {
	case r.Unit == "percent" && r.Total > 0, r.Unit == "" && r.Total > 100:
		fmt.Fprintf(&b, "  %d%%", r.Done*100/r.Total)
	case r.Unit == "percent":
		fmt.Fprintf(&b, "  %d%%", r.Done)
	case r.Unit == "bytes" && r.Total > 0:
		fmt.Fprintf(&b, "  %s of %s", size.Format(r.Done), size.Format(r.Total))
	case r.Unit == "bytes" && r.Done > 0:
		fmt.Fprintf(&b, "  %s", size.Format(r.Done))
	case r.Total > 1:
		fmt.Fprintf(&b, "  %d of %d", r.Done, r.Total)
	}
	if perSecond <= 0 {
		return b.String()
	}
	if r.Unit == "bytes" {
		fmt.Fprintf(&b, ", %s/s", size.Format(int64(perSecond)))
	}
	if r.Total > r.Done {
		left := time.Duration(float64(r.Total-r.Done) / perSecond * float64(time.Second))
		if left < 24*time.Hour {
			fmt.Fprintf(&b, ", %s left", left.Round(time.Second))
		}
	}
	return b.String()
}

// clip shortens s to n columns of one rune each.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	return string([]rune(s)[:n-1]) + "…"
}

// rate measures the speed of some work since its first report.
type rate struct {
	began, now    time.Time
	first, latest int64
}

func (r *rate) add(now time.Time, done int64) {
	if r.began.IsZero() || done < r.latest {
		*r = rate{began: now, first: done}
	}
	r.now, r.latest = now, done
}

// perSecond returns the rate per second, or 0 until enough is known.
func (r *rate) perSecond() float64 {
	if d := r.now.Sub(r.began); d >= time.Second {
		return float64(r.latest-r.first) / d.Seconds()
	}
	return 0
}
