package qemu

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}` + "\n"

// monitor serves lines as QEMU's monitor: the first at once, each next one for
// a line that was received.
func monitor(t *testing.T, lines ...string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		in := bufio.NewScanner(theirs)
		for _, line := range lines {
			if _, err := theirs.Write([]byte(line)); err != nil {
				return
			}
			if !in.Scan() {
				return
			}
		}
	}()
	t.Cleanup(func() { ours.Close(); <-done })
	return ours
}

func TestQMPExecute(t *testing.T) {
	events := `{"event": "STOP", "timestamp": {}}` + "\n" + `{"event": "RESUME"}` + "\n"
	conn := monitor(t, greeting, `{"return": {}}`+"\n", events+`{"return": {"status": "running", "running": true}}`+"\n",
		`{"error": {"class": "GenericError", "desc": "no such thing"}}`+"\n", `{"odd": 1}`+"\n")
	q, err := newQMP(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var status struct{ Running bool }
	if err := q.Execute(t.Context(), "query-status", nil, &status); err != nil || !status.Running {
		t.Errorf("status %+v, %v", status, err)
	}
	if err := q.Execute(t.Context(), "nonsense", nil, nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v", err)
	}
	if err := q.Execute(t.Context(), "stop", nil, nil); err == nil {
		t.Errorf("a response that is none was taken")
	}
}

func TestQMPRefuses(t *testing.T) {
	for name, first := range map[string]string{
		"no greeting": `{"return": {}}` + "\n",
		"no JSON":     "hello\n",
		"too long":    strings.Repeat("x", qmpLine+1) + "\n",
		"null":        "null\n",
	} {
		if q, err := newQMP(t.Context(), monitor(t, first)); err == nil {
			q.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestQMPIsBounded(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := newQMP(ctx, ours); err != context.DeadlineExceeded && !strings.Contains(err.Error(), "deadline") {
		t.Errorf("a silent monitor: %v", err)
	}
}

func FuzzQMP(f *testing.F) {
	f.Add([]byte(greeting + `{"return": {}}` + "\n" + `{"return": 1}`))
	f.Add([]byte(greeting + `{"event": "STOP"}` + "\n" + `{"error": {}}` + "\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			_, _ = theirs.Write(said)
			theirs.Close()
		}()
		go func() { // what the client writes is read, whatever is said
			buf := make([]byte, 1<<10)
			for {
				if _, err := theirs.Read(buf); err != nil {
					return
				}
			}
		}()
		q, err := newQMP(t.Context(), ours)
		if err != nil {
			return
		}
		var status struct{ Running bool }
		_ = q.Execute(t.Context(), "query-status", nil, &status)
		_ = q.Close()
	})
}
