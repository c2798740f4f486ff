package userns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"banger/api"
)

// Job is a part of the program that runs as root of a namespace. Values passed to emit
// arrive at Call.Event as JSON. Its context never ends: the process is killed.
type Job func(ctx context.Context, args []string, emit func(any)) error

// The arguments that tell a program that it was started for a job.
const (
	marker   = "banger-job"
	waiting  = "waiting" // for the ids to be mapped
	mapped   = "mapped"  // then executed again: an exec as root gains the capabilities
	checkJob = "check"
)

// The descriptors that a job's process inherits.
const (
	lifeFD   = 3 // receives one byte when the ids are mapped; closed when the parent ends
	outputFD = 4
)

// Main runs the job that this process was started for, if any, and then exits.
func Main(jobs map[string]Job) {
	if len(os.Args) < 4 || os.Args[1] != marker {
		return
	}
	if os.Args[2] == waiting {
		os.Exit(fail(newOutput(), becomeRoot()))
	}
	os.Exit(runJob(jobs, os.Args[3], os.Args[4:]))
}

// becomeRoot waits for the mapping and executes this program again; it returns only an
// error.
func becomeRoot() error {
	var b [1]byte
	for {
		n, err := syscall.Read(lifeFD, b[:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if n != 1 {
			return errors.New("the parent has ended")
		}
		break
	}
	args := append([]string{os.Args[0], marker, mapped}, os.Args[3:]...)
	return os.NewSyscallError("exec", syscall.Exec("/proc/self/exe", args, os.Environ()))
}

func runJob(jobs map[string]Job, name string, args []string) int {
	syscall.CloseOnExec(lifeFD)
	syscall.CloseOnExec(outputFD)
	out := newOutput()
	go func() {
		var b [1]byte
		_, _ = os.NewFile(lifeFD, "life").Read(b[:])
		os.Exit(1) // the parent has ended; the exit of pid 1 ends all processes
	}()
	if err := enter(); err != nil {
		return fail(out, err)
	}
	if name == checkJob {
		return 0
	}
	job := jobs[name]
	if job == nil {
		return fail(out, fmt.Errorf("this program has no job %q", name))
	}
	return fail(out, job(context.Background(), args, func(v any) {
		if data, err := json.Marshal(v); err == nil {
			out.send(message{Event: data})
		}
	}))
}

// enter sets up the namespaces: mounts stay inside, and /proc shows this pid namespace
// if the host allows it (some containers do not).
func enter() error {
	if os.Geteuid() != 0 {
		return unsupported(errors.New("the ids were not mapped"))
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return unsupported(os.NewSyscallError("mount", err))
	}
	_ = syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
	syscall.Umask(0o022)
	return nil
}

// fail sends a job's error, and returns its exit status.
func fail(out *output, err error) int {
	if err == nil {
		return 0
	}
	out.send(message{Error: api.AsError(err)})
	return 1
}

type output struct {
	mu sync.Mutex
	f  *os.File
}

func newOutput() *output { return &output{f: os.NewFile(outputFD, "output")} }

func (o *output) send(m message) {
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.f.Write(append(data, '\n'))
}
