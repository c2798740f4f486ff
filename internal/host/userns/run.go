package userns

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"banger/api"
	"banger/internal/host/execx"
)

// Call is a Job to run.
type Call struct {
	Job   string
	Args  []string
	Stdin io.Reader
	// Event receives what the job emits, as JSON. It may be nil.
	Event func(json.RawMessage)
}

// message is a line that a job's process writes to its standard output.
type message struct {
	Event json.RawMessage `json:"event,omitempty"`
	Error *api.Error      `json:"error,omitempty"`
}

// Run runs a job to its end. If ctx ends first, or this process dies, the job and all
// processes that it has started are killed.
func Run(ctx context.Context, call Call) error {
	ids, err := idMaps()
	if err != nil {
		return err
	}
	wait, life, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer life.Close() // the child ends when this descriptor is closed
	out, in, err := os.Pipe()
	if err != nil {
		wait.Close()
		return fmt.Errorf("make pipe: %w", err)
	}
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed = follow(out, call.Event)
	}()
	err = execx.Run(ctx, execx.Cmd{
		Name: "/proc/self/exe", Args: append([]string{marker, waiting, call.Job}, call.Args...), Stdin: call.Stdin,
		Attr:       &syscall.SysProcAttr{Cloneflags: ids.flags()},
		ExtraFiles: []*os.File{wait, in},
		Started: func(pid int) error {
			wait.Close()
			in.Close()
			if err := ids.apply(ctx, pid); err != nil {
				return err
			}
			_, err := life.Write([]byte{1})
			return err
		},
	})
	wait.Close() // closed already, unless the program did not start
	in.Close()
	<-done
	out.Close()
	if failed != nil && ctx.Err() == nil {
		return failed
	}
	return startError(err)
}

// startError says what to do if the kernel refuses namespaces.
func startError(err error) error {
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EUSERS) {
		return err
	}
	return unsupported(err)
}

func follow(r io.Reader, event func(json.RawMessage)) error {
	var failed error
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		if m.Error != nil {
			failed = m.Error
		}
		if m.Event != nil && event != nil {
			event(m.Event)
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line that is too long must not block the job
	return failed
}

// Check returns an error if this user cannot run jobs on this host.
func Check(ctx context.Context) error { return Run(ctx, Call{Job: checkJob}) }

// unsupported explains a refusal by the kernel.
func unsupported(err error) error {
	e := api.Errorf(api.KindUnsupported, "this host does not let you make user namespaces: %w", err)
	for _, setting := range []struct{ name, bad, good string }{
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
		{"kernel.unprivileged_userns_clone", "0", "1"},
		{"user.max_user_namespaces", "0", "10000"},
	} {
		data, readErr := os.ReadFile("/proc/sys/" + strings.ReplaceAll(setting.name, ".", "/"))
		if readErr == nil && strings.TrimSpace(string(data)) == setting.bad {
			return e.WithHint("sudo sysctl -w %s=%s", setting.name, setting.good)
		}
	}
	return e.WithHint("run banger as root, or outside the container")
}
