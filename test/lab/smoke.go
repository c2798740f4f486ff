package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"banger/test/lab/host"
)

// noLabError means that no lab can be booted: another pair would not help.
type noLabError struct{ error }

func (e *noLabError) Unwrap() error { return e.error }

func isNoLab(err error) bool { return errors.As(err, new(*noLabError)) }

// use makes the following turns use a pair. An error means that they cannot run: no
// lab, or no guest. left is the number of turns with the pair.
func (r *run) use(ctx context.Context, turn Turn, left int) error {
	if r.begun && r.pair == turn.Pair {
		return nil
	}
	r.begun, r.pair, r.kept = true, turn.Pair, false
	log, err := os.Create(filepath.Join(r.Results, "smoke-"+with(turn.Pair)+r.name+".log"))
	if err != nil {
		return &noLabError{err}
	}
	defer log.Close()
	if err := r.switchPair(ctx, log); err != nil {
		return err
	}
	if left < 2 {
		return nil // the turn itself shows whether a guest starts
	}
	return twice(ctx, func() error { return r.smoke(ctx, log) }, func(err error) error {
		if isNoLab(err) {
			return err
		}
		sentence, rest, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("no guest starts with %s, so no scenario is run with it: %s\n%s     the complete output is in %s",
			what(turn.Pair), sentence, indent(rest+"\n"+r.lab.messages.circumstances(log)), log.Name())
	})
}

// twice tries something until it works. If it has failed twice in the same way, or in
// three ways, it returns say of the last failure.
func twice(ctx context.Context, do func() error, say func(error) error) error {
	var f failures
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return nil // the run reports that it was stopped
		}
		f.add(err, false)
		if f.most > 1 || f.tries == 3 {
			return say(fmt.Errorf("it %s: %w", f.way(), err))
		}
	}
}

// switchPair makes the lab, or a new one, use the run's pair.
func (r *run) switchPair(ctx context.Context, log *os.File) error {
	if r.lab != nil {
		err := r.lab.health.alive()
		if err == nil {
			err = r.lab.guarded(ctx, log, func() { r.lab.Ready(false, true); r.lab.takePair(r.pair) })
		}
		if err == nil {
			return nil
		}
		fmt.Fprintf(log, "a new lab is needed: %v\n", err)
		if err := r.end(); err != nil {
			return &noLabError{err}
		}
	}
	return twice(ctx, func() error { return r.ready(ctx, log, false) }, func(err error) error {
		return fmt.Errorf("no lab can be booted: %w", err)
	})
}

// smoke starts one guest, runs a command in it and deletes it.
func (r *run) smoke(ctx context.Context, log *os.File) error {
	if err := r.ready(ctx, log, false); err != nil {
		return err
	}
	l := r.lab
	err := l.guarded(ctx, log, func() {
		l.Ready(false, false)
		if r := l.TryDev("banger vm create %s --driver %s --name smoke --start", start, l.driver); r.Status != 0 {
			l.Failf("%s\n%s", complaint(r.Output), r.Output)
		}
		l.Guest("smoke", "true")
		l.Dev("banger vm delete --force smoke")
	})
	r.suspect = err != nil
	return err
}

// complaint is banger's error message: its last line.
func complaint(output string) string {
	last := "banger printed no message"
	for line := range strings.Lines(output) {
		if said, found := strings.CutPrefix(line, "banger: "); found {
			last = strings.TrimSpace(said)
		}
	}
	return last
}

// what names a pair in a sentence.
func what(pair *host.Pair) string {
	if pair == nil {
		return "QEMU"
	}
	return pair.String()
}

// with names a pair in a file name.
func with(pair *host.Pair) string {
	if pair == nil {
		return "qemu"
	}
	return pair.Name
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
