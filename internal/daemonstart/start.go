package daemonstart

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/config"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/logging"
	"banger/internal/paths"

	"golang.org/x/sys/unix"
)

// readyTime bounds the start of the daemon, which first finds its VMs again: this takes
// about a second for very many. A longer start means that it hangs.
const readyTime = 60 * time.Second

// start starts the daemon unless another client has just done so.
func (d Daemon) start(ctx context.Context) error {
	if err := os.MkdirAll(d.Paths.Data, 0o700); err != nil {
		e := api.AsError(fsx.DiskError("create the directory for VMs", err))
		if e.Hint == "" {
			return e.WithHint("set BANGER_HOME to a directory you can write")
		}
		return e
	}
	unlock, err := lock(ctx, d.Paths.StartLock())
	if err != nil {
		return err
	}
	defer unlock()
	if conn, err := fsx.DialUnix(ctx, d.Paths.Socket()); err == nil {
		return conn.Close()
	}
	if d.BeforeStart != nil {
		program, err := d.BeforeStart(ctx)
		if err != nil {
			return err
		}
		if program != "" {
			return d.spawnOne(ctx, program)
		}
	}
	program, err := Program()
	if err != nil {
		return err
	}
	return d.spawnOne(ctx, program)
}

// maxEnded is how often a daemon is started again that was ended before it was ready, or
// before it was asked for anything.
const maxEnded = 5

// spawnOne is spawn while others may start and kill daemons, too: a client that was killed
// in here leaves a daemon that is not ready yet, and the daemon may be killed.
func (d Daemon) spawnOne(ctx context.Context, program string) error {
	for tries := 0; ; tries++ {
		err := d.spawn(ctx, program)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if conn, dialErr := fsx.DialUnix(ctx, d.Paths.Socket()); dialErr == nil {
			return conn.Close()
		}
		other := api.KindOf(err) == api.KindConflict && tries == 0 // it has ended since, if it existed
		if !other && (!errors.Is(err, errEnded) || tries == maxEnded) {
			return err
		}
	}
}

// errEnded is the cause if a daemon was killed by a signal before it was ready.
var errEnded = errors.New("a signal ended it")

// lock locks the lock file at path, or fails when ctx ends.
func lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fsx.DiskError("lock the daemon's start", err)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return func() { f.Close() }, nil
	}
	// Another client is starting the daemon, for a bounded time.
	err = fsx.Flock(ctx, f)
	if err != nil && ctx.Err() != nil {
		return nil, api.Errorf(api.KindCanceled, "gave up waiting for the daemon to start: %w", err)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// spawn starts the daemon in a session of its own and waits until it is ready. The daemon
// does not end with ctx or this process, and inherits no open file of the caller: a lock
// would be held, and the reader of a pipe would wait, until the daemon ends.
func (d Daemon) spawn(ctx context.Context, program string) error {
	log, err := logging.Open(d.Paths.DaemonLog())
	if err != nil {
		return fsx.DiskError("open the daemon's log", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return api.AsError(err)
	}
	defer null.Close()
	ready, write, err := os.Pipe()
	if err != nil {
		return api.AsError(err)
	}
	defer ready.Close()
	if err := execx.CloseOnExec(); err != nil {
		return api.AsError(err)
	}
	proc, err := os.StartProcess(program, []string{program}, &os.ProcAttr{
		Dir:   "/", // so that no mounted file system is busy
		Env:   append(Env(d.Paths), api.ReadyEnv+"=3"),
		Files: []*os.File{null, log, log, write},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	write.Close()
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot start the daemon %s: %w", program, err)
	}
	// Reaps it if it ends before this process.
	ended := make(chan *os.ProcessState, 1)
	go func() {
		state, _ := proc.Wait()
		ended <- state
	}()
	return d.awaitReady(ctx, ready, ended)
}

// awaitReady reads what the daemon reports about its start.
func (d Daemon) awaitReady(ctx context.Context, ready *os.File, ended <-chan *os.ProcessState) error {
	_ = ready.SetReadDeadline(time.Now().Add(readyTime))
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(ready, 64<<10))
	text := strings.TrimSpace(string(said))
	var failure api.Error
	switch {
	case text == "ready":
		return nil
	case json.Unmarshal([]byte(text), &failure) == nil && failure.Kind == api.KindCanceled:
		return api.Errorf(api.KindInternal, "%s: %w", failure.Message, errEnded)
	case json.Unmarshal([]byte(text), &failure) == nil && failure.Message != "":
		return &failure
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "gave up waiting for the daemon to start: %w", context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Errorf(api.KindTimeout, "the daemon was not ready within %s", readyTime).
			WithHint("cat %s", d.Paths.DaemonLog())
	}
	cause := errors.New(d.lastLog())
	if wasEnded(ended) {
		cause = errEnded
	}
	return api.Errorf(api.KindInternal, "the daemon ended before it was ready: %w", cause).
		WithHint("cat %s", d.Paths.DaemonLog())
}

// wasEnded waits for the end of a daemon that has closed its files, and reports whether a
// signal that is sent to end processes has ended it.
func wasEnded(ended <-chan *os.ProcessState) bool {
	select {
	case state := <-ended:
		if state == nil {
			return false
		}
		status, ok := state.Sys().(syscall.WaitStatus)
		return ok && status.Signaled() && slices.Contains([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}, status.Signal())
	case <-time.After(reapTime):
		return false
	}
}

// reapTime is more than a process that has closed its files takes to end, even on an
// overloaded host, on which seconds were measured.
const reapTime = 30 * time.Second

// lastLog is the last line of the daemon's log.
func (d Daemon) lastLog() string {
	f, err := os.Open(d.Paths.DaemonLog())
	if err != nil {
		return "it wrote no log"
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-4096), io.SeekStart)
	}
	data, _ := io.ReadAll(io.LimitReader(f, 4096))
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "its log is empty"
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// Env returns this process's environment for a daemon with the paths p, which runs in
// another directory: with absolute paths, and without the variables of one command that
// must not apply to all others.
func Env(p paths.Paths) []string {
	set := map[string]string{"PATH": config.UsualPath}
	if p.Data == filepath.Join(p.Config, "data") && p.Cache == filepath.Join(p.Config, "cache") {
		set["BANGER_HOME"] = p.Config
	} else {
		set["BANGER_HOME"] = ""
		set["XDG_DATA_HOME"] = filepath.Dir(p.Data)
		set["XDG_CACHE_HOME"] = filepath.Dir(p.Cache)
		set["XDG_CONFIG_HOME"] = filepath.Dir(p.Config)
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, ours := set[name]
		return ours || name == api.ReadyEnv || config.OfTheDaemon(name)
	})
	for name, value := range set {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Program returns the path of the daemon's program: $BANGERD, or bangerd beside this
// program, or bangerd on PATH.
func Program() (string, error) {
	if path := os.Getenv("BANGERD"); path != "" {
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		beside := filepath.Join(filepath.Dir(self), "bangerd")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath("bangerd")
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "cannot find the daemon's program, bangerd: %w", err).
			WithHint("put bangerd beside banger, or set BANGERD to its path")
	}
	return path, nil
}
