package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

// creating adds `POST /v1/vms` and the removal of what it makes.
func (w *fixture) creating(got *api.CreateVM) {
	w.HandleFunc("POST /v1/vms", func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(got)
		answer(rw, api.Event{Operation: &api.Operation{ID: "op1", Status: api.OpRunning}})
		answer(rw, api.Event{Progress: &api.Progress{Step: api.StepNote, Message: "no KVM here: using emulation (slower)"}})
		made := vm("brave-otter", api.StateRunning)
		made.ImageConfig = w.image
		done(rw, nil, &api.Result{VM: &made})
	})
	w.HandleFunc("DELETE /v1/vms/{vm}", func(rw http.ResponseWriter, _ *http.Request) { done(rw, nil, nil) })
}

func TestRunCommand(t *testing.T) {
	w := newFixture(t)
	var req api.CreateVM
	w.creating(&req)
	w.guest(t)
	t.Setenv("BANGER_DISK", "3G")
	out, errs, status := runWith(strings.NewReader("in\x00\xff"), "vm", "run", "--rm", "--memory", "512M", "--env", "A=b c", "--",
		"sh", "-c", `cat; echo "$A" >&2; exit 7`)
	if out != "in\x00\xff" || errs != "banger: no KVM here: using emulation (slower)\nb c\n" || status != 7 {
		t.Errorf("%q, %q, status %d", out, errs, status)
	}
	if !req.Start || !req.AutoRemove || req.MemoryBytes != 512<<20 || req.DiskBytes != 3<<30 {
		t.Errorf("asked for %+v", req)
	}
	if want := "POST /v1/vms\nPOST /v1/vms/0123456789ab/stream\nDELETE /v1/vms/0123456789ab?force=1"; w.called() != want {
		t.Errorf("asked\n%s\nwant\n%s", w.called(), want)
	}
}

// TestRunImage: what a VM's image says of commands, and what of it flags change.
func TestRunImage(t *testing.T) {
	w := newFixture(t)
	w.creating(new(api.CreateVM))
	w.guest(t)
	const tell = `echo "$0:$*"; echo "$A$B"; pwd`
	for _, c := range []struct {
		name  string
		image *api.ImageConfig
		args  []string
		want  string // the directory without what is above it
	}{
		{"its own command", &api.ImageConfig{Entrypoint: []string{"sh", "-c", tell, "entry"}, Cmd: []string{"one", "two"}, Env: []string{"A=a", "B=b"}, WorkingDir: "/srv"},
			nil, "entry:one two\nab\nsrv\n"},
		{"arguments for its Cmd", &api.ImageConfig{Entrypoint: []string{"sh", "-c", tell, "entry"}, Cmd: []string{"one"}, Env: []string{"A=a", "B=b"}, WorkingDir: "/srv"},
			[]string{"-e", "B=ours", "-w", "/", "--", "three"}, "entry:three\naours\nguest\n"},
		{"a command of ours", &api.ImageConfig{Cmd: []string{"false"}, Env: []string{"A=a"}, WorkingDir: "/srv"},
			[]string{"--", "sh", "-c", tell, "ours"}, "ours:\na\nsrv\n"},
		{"another entrypoint", &api.ImageConfig{Entrypoint: []string{"false"}, Cmd: []string{"one"}},
			[]string{"--entrypoint", "echo", "--", "hello"}, "hello\n"},
		{"no entrypoint", &api.ImageConfig{Entrypoint: []string{"false"}},
			[]string{"--entrypoint", "", "--", "echo", "there"}, "there\n"},
		{"a shell of an image without a configuration", nil,
			nil, "-sh:\n\nguest\n"},
	} {
		w.image = c.image
		out, errs, status := runWith(strings.NewReader(tell), append([]string{"vm", "run"}, c.args...)...)
		lines := strings.SplitAfter(out, "\n")
		if n := len(lines); n == 4 {
			lines[2] = lines[2][strings.LastIndex(lines[2], "/")+1:]
		}
		if got := strings.Join(lines, ""); got != c.want || status != 0 {
			t.Errorf("%s: %q, not %q; %q, status %d", c.name, got, c.want, errs, status)
		}
	}
}

func TestRunImageThatIsBroken(t *testing.T) {
	w := newFixture(t)
	w.creating(new(api.CreateVM))
	w.guest(t)
	w.image = &api.ImageConfig{Entrypoint: []string{"/no/such", "arg"}}
	if _, errs, status := run("vm", "run"); status != 127 || !strings.Contains(errs, "/no/such: command not found") {
		t.Errorf("%q, status %d", errs, status)
	}
	w.image = &api.ImageConfig{User: "nosuch"}
	_, errs, status := run("vm", "exec", "dev", "--", "true")
	if status != exitBanger || !strings.Contains(errs, `banger: cannot run as "nosuch": the guest has no such user`) || !strings.Contains(errs, "  try: --user root") {
		t.Errorf("%q, status %d", errs, status)
	}
}

func TestRunDetached(t *testing.T) {
	w := newFixture(t)
	var req api.CreateVM
	w.creating(&req)
	entrypoint := ""
	for _, c := range []struct {
		args []string
		want api.Background
	}{
		{nil, api.Background{}},
		{[]string{"-u", "app", "-w", "/srv", "-e", "A=b", "--entrypoint", "", "--", "httpd", "-f"},
			api.Background{Argv: []string{"httpd", "-f"}, Entrypoint: &entrypoint, Env: []string{"A=b"}, Dir: "/srv", User: "app"}},
	} {
		req = api.CreateVM{}
		if out, _, status := run(append([]string{"vm", "run", "-d"}, c.args...)...); out != "brave-otter\n" || status != 0 {
			t.Errorf("%q, status %d", out, status)
		}
		if diff := cmp.Diff(&c.want, req.Background); diff != "" {
			t.Error(diff)
		}
	}
	if _, errs, status := run("vm", "run", "-d", "-t", "--", "top"); status != 2 || !strings.Contains(errs, "exclude each other") {
		t.Errorf("%q, status %d", errs, status)
	}
}

func TestRunThatCannotStart(t *testing.T) {
	w := newFixture(t)
	w.HandleFunc("POST /v1/vms", func(rw http.ResponseWriter, _ *http.Request) {
		done(rw, api.Errorf(api.KindNoSpace, "cannot make disk: no space left").WithHint("banger vm prune"), nil)
	})
	_, errs, status := run("vm", "run", "--", "true")
	if errs != "banger: cannot make disk: no space left\n  try: banger vm prune\n" || status != exitBanger {
		t.Errorf("%q, status %d", errs, status)
	}
}

// Ctrl-C while it starts cancels the operation and ends with 130.
func TestInterruptedStart(t *testing.T) {
	w := newFixture(t)
	undone := make(chan struct{})
	w.HandleFunc("POST /v1/vms", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.Event{Operation: &api.Operation{ID: "op1", Status: api.OpRunning}})
		_ = http.NewResponseController(rw).Flush()
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-undone
		done(rw, api.Errorf(api.KindCanceled, "cancelled"), nil)
	})
	w.HandleFunc("DELETE /v1/operations/op1", func(http.ResponseWriter, *http.Request) { close(undone) })
	if _, errs, status := run("vm", "run", "--", "true"); errs != "banger: cancelled, nothing is left\n" || status != 130 {
		t.Errorf("%q, status %d", errs, status)
	}
}

func TestExec(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	for script, want := range map[string]int{"exit 0": 0, "exit 42": 42, "kill -TERM $$": 128 + 15} {
		if _, errs, status := run("vm", "exec", "dev", "--", "sh", "-c", script); status != want || errs != "" {
			t.Errorf("%s: %q, status %d", script, errs, status)
		}
	}
	// One request for each: the path is as short as can be.
	if n := strings.Count(w.called(), "\n") + 1; n != 3 {
		t.Errorf("%d requests:\n%s", n, w.called())
	}
	if out, _, _ := run("vm", "exec", "-w", "/", "dev", "--", "pwd"); !strings.HasPrefix(out, "/") {
		t.Errorf("pwd says %q", out)
	}
}

func TestShellWithoutTerminalReadsAScript(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	if out, errs, status := runWith(strings.NewReader("echo hi\nexit 3\n"), "vm", "shell", "dev"); out != "hi\n" || status != 3 {
		t.Errorf("%q, %q, status %d", out, errs, status)
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		// The command's first output says that it is there to be signalled.
		out := &reaction{to: "ready", do: func() { _ = syscall.Kill(os.Getpid(), sig) }}
		var errs bytes.Buffer
		status := Main([]string{"vm", "exec", "dev", "--", "sh", "-c", "echo ready; exec sleep 30"}, strings.NewReader(""), out, &errs)
		if status != 128+int(sig) {
			t.Errorf("%v: status %d, %q", sig, status, errs.String())
		}
	}
}

// reaction does something when it is written what it waits for.
type reaction struct {
	to string
	do func()
}

func (r *reaction) Write(p []byte) (int, error) {
	if strings.Contains(string(p), r.to) {
		r.do()
	}
	return len(p), nil
}

func TestReaderThatGoesAway(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	var errs bytes.Buffer
	status := Main([]string{"vm", "exec", "dev", "--", "yes"}, strings.NewReader(""), write, &errs)
	if errs.String() != "" || status != 128+int(syscall.SIGPIPE) {
		t.Errorf("%q, status %d", errs.String(), status)
	}
}

func TestLongCommandLine(t *testing.T) {
	newFixture(t)
	_, errs, status := run("vm", "exec", "dev", "--", "echo", strings.Repeat("x", 1<<20))
	if !strings.Contains(errs, "too long") || len(errs) > 500 || status != exitBanger {
		t.Errorf("%.500q, status %d", errs, status)
	}
}

func TestTiming(t *testing.T) {
	w := newFixture(t)
	w.creating(new(api.CreateVM))
	w.guest(t)
	_, errs, _ := run("vm", "run", "--rm", "--timing", "--", "true")
	for _, want := range []string{"where the time went:\n", "  command ", "  total "} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is not in %q", want, errs)
		}
	}
}
