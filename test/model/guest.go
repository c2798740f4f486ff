package model

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/client"
	"banger/test/harness/session"
)

// The file that guests write is replaced as a whole, so that a full disk costs nothing. Two
// commands may write at the same time, so each has a file of its own before.
const (
	writeScript = `echo %[1]d > /note.%[1]d && mv /note.%[1]d /note && true`
	readScript  = `if [ -e /note ]; then cat /note; else echo 0; fi`
)

// inGuest has a fake guest's commands use the file of its own root directory, which they
// work in: they are processes of this host.
func (w *world) inGuest(script string) string {
	if w.real { // a VMM that is killed loses what is not on the disk
		return strings.ReplaceAll(script, " && ", " && sync && ")
	}
	return strings.ReplaceAll(script, "/note", "note")
}

// shell runs a script in a guest, and returns what it printed.
func (w *world) shell(ctx context.Context, ref, script string) (string, error) {
	s, err := w.client.Guest(ref).Exec(ctx, w.script(script))
	if err != nil {
		return "", err
	}
	return printed(ctx, s)
}

// detached is shell with a command that is left alone, and then taken up to its end.
func (w *world) detached(ctx context.Context, ref, script string) (string, error) {
	g := w.client.Guest(ref)
	id, exit, err := g.Start(ctx, w.script(script), io.Discard)
	if err == nil && id == "" {
		err = api.Errorf(api.KindInternal, "the command was not started: status %d", exit.Code)
	}
	if err != nil {
		return "", err
	}
	s, err := g.Attach(ctx, id, 0, 0)
	if err != nil {
		return "", err
	}
	return printed(ctx, s)
}

func (w *world) script(text string) api.Exec {
	return api.Exec{Argv: []string{"sh", "-c", w.inGuest(text)}}
}

// printed is what a session printed that ended well.
func printed(ctx context.Context, s *client.Session) (string, error) {
	defer s.Close()
	var out, errs bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&out, s.Stdout) }) // Wait says what is wrong
	reading.Go(func() { _, _ = io.Copy(&errs, s.Stderr) })
	_ = s.Stdin.Close()
	exit, err := s.Wait(ctx)
	reading.Wait()
	if err == nil && exit.Code != 0 {
		err = api.Errorf(api.KindInternal, "the command ended with status %d: %s", exit.Code, errs.String())
	}
	return out.String(), err
}

func opWrite() *operation {
	o := &operation{
		name: "exec write", weight: 8, detail: func(s *step) string { return strconv.Itoa(s.note) },
		run: func(ctx context.Context, w *world, s *step) outcome {
			_, err := w.shell(ctx, w.vmName(s.track, s.name), fmt.Sprintf(writeScript, s.note))
			return outcome{err: api.AsError(err)}
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "exec", "-n", w.vmName(s.track, s.name), "--", "sh", "-c", w.inGuest(fmt.Sprintf(writeScript, s.note))}
		},
		done: writes,
		failed: func(s state, e *event) []state {
			return notReached(s, e, writes(s, e)...)
		},
		writes: true,
	}
	return o
}

// opDetached writes by a command that goes on without a client for a moment.
func opDetached() *operation {
	return &operation{
		name: "exec -d write", weight: 4, detail: func(s *step) string { return strconv.Itoa(s.note) },
		run: func(ctx context.Context, w *world, s *step) outcome {
			_, err := w.detached(ctx, w.vmName(s.track, s.name), fmt.Sprintf("sleep 0.0%d && ", s.grace)+fmt.Sprintf(writeScript, s.note))
			return outcome{err: api.AsError(err)}
		},
		done:   writes,
		failed: func(s state, e *event) []state { return notReached(s, e, writes(s, e)...) },
		writes: true,
	}
}

func opCopyIn() *operation {
	return &operation{
		name: "cp in", weight: 4, detail: func(s *step) string { return strconv.Itoa(s.note) },
		run: func(ctx context.Context, w *world, s *step) outcome {
			from := w.noteFile(s)
			defer os.Remove(from)
			return outcome{err: api.AsError(w.client.Guest(w.vmName(s.track, s.name)).CopyIn(ctx, from, "/note", client.CopyOptions{}))}
		},
		cli: func(w *world, s *step) []string {
			return []string{"vm", "cp", w.noteFile(s), w.vmName(s.track, s.name) + ":/note"}
		},
		done:   writes,
		failed: func(s state, e *event) []state { return notReached(s, e, writes(s, e)...) },
		writes: true,
	}
}

// noteFile makes a file to copy.
func (w *world) noteFile(s *step) string {
	name := filepath.Join(w.scratch, fmt.Sprintf("in-%d", s.n))
	if err := os.WriteFile(name, fmt.Appendf(nil, "%d\n", s.note), 0o600); err != nil {
		panic(err) // the scratch directory is never full
	}
	return name
}

func writes(s state, e *event) (all []state) {
	for _, name := range e.names() {
		v := s.vm[name]
		booted := e.besideBoot(name)
		v.note = e.note
		switch {
		case v.phase == running, booted && v.phase != absent:
			all = append(all, s.with(name, v))
		case booted:
			all = append(all, s)
		}
	}
	return all
}

func opRead() *operation {
	return &operation{
		name: "exec read", weight: 10,
		run: func(ctx context.Context, w *world, s *step) outcome {
			text, err := w.shell(ctx, w.vmName(s.track, s.name), readScript)
			return readNote(text, err)
		},
		done: reads, failed: func(s state, e *event) []state { return notReached(s, e) },
	}
}

func opCopyOut() *operation {
	return &operation{
		name: "cp out", weight: 4,
		run: func(ctx context.Context, w *world, s *step) outcome {
			to := filepath.Join(w.scratch, fmt.Sprintf("out-%d", s.n))
			defer os.Remove(to)
			err := w.client.Guest(w.vmName(s.track, s.name)).CopyOut(ctx, "/note", to, client.CopyOptions{})
			if e := api.AsError(err); e != nil && e.Kind == api.KindNotFound && strings.HasPrefix(e.Message, "cannot look at /note in the guest") {
				return outcome{lacks: e.Message}
			}
			if err != nil {
				return outcome{err: api.AsError(err)}
			}
			text, err := os.ReadFile(to)
			return readNote(string(text), err)
		},
		done: reads, failed: func(s state, e *event) []state { return notReached(s, e) },
	}
}

func readNote(text string, err error) (o outcome) {
	if err == nil {
		o.note, err = strconv.Atoi(strings.TrimSpace(text))
	}
	o.err = api.AsError(err)
	return o
}

func reads(s state, e *event) (all []state) {
	for _, name := range e.names() {
		v := s.vm[name]
		if slices.Contains(e.late, e.out.note) {
			v.note = e.out.note
		}
		all = append(all, only((v.phase == running || e.besideBoot(name)) && v.note == e.out.note, s.with(name, v))...)
	}
	return all
}

// notReached is what a session may leave that failed. Where the VM is ended meanwhile, it may
// have done its work. Nothing else makes it fail: it outlives the daemon.
func notReached(s state, e *event, worked ...state) []state {
	p := s.vm[e.name].phase
	disturbed := e.besideClaim() || e.besides("kill -9 VMM")
	switch {
	case disturbed:
		return append(worked, s)
	case e.is(api.KindNotFound):
		return only(p == absent, s)
	case e.is(api.KindConflict):
		return only(p == stopped || p == failed, s)
	case e.out.full && p == running:
		return append(worked, s)
	}
	return nil
}

// awaitCommands waits until the commands of fake guests have ended that run now: they are
// processes of this host, and go on when their machine is killed or their client gone.
func (w *world) awaitCommands(ctx context.Context) {
	if w.real {
		return
	}
	all, err := session.Processes(w.paths.VMs())
	if err != nil {
		return
	}
	for _, p := range all {
		if strings.HasSuffix(p.Dir, "/"+rootDir) {
			for end := time.Now().Add(hung); session.Alive(p.PID) && time.Now().Before(end) && ctx.Err() == nil; {
				time.Sleep(2 * time.Millisecond)
			}
		}
	}
}
