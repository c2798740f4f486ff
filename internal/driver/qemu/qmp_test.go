package qemu

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/internal/paths"
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

// TestGrowDisk is what the monitor is asked for, on its socket.
func TestGrowDisk(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, paths.VMQMPSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewScanner(conn)
		for _, line := range []string{greeting, `{"return": {}}` + "\n", `{"error": {"class": "GenericError", "desc": "Cannot grow device files"}}` + "\n"} {
			if _, err := conn.Write([]byte(line)); err != nil || !in.Scan() {
				break
			}
			select {
			case <-asked:
			default:
			}
			asked <- in.Text()
		}
	}()
	err = monitorIn(dir).grow(t.Context(), 7<<30)
	if err == nil || !strings.Contains(err.Error(), "cannot grow the disk of the VM: QEMU command block_resize: GenericError: Cannot grow device files") {
		t.Error(err)
	}
	const want = `{"execute":"block_resize","arguments":{"node-name":"disk","size":7516192768},"id":"`
	if got := <-asked; !strings.HasPrefix(got, want) {
		t.Errorf("asked %s", got)
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
