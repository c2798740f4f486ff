package fcproc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
)

func (w *fixture) wantPID(want int) {
	w.Helper()
	if got, err := w.FindPID(w.socket); err != nil || got != want {
		w.Errorf("found %d, %v; want %d", got, err, want)
	}
}

// wantNone checks that there is no VMM, for a reason that the error names.
func (w *fixture) wantNone(reason string) {
	w.Helper()
	got, err := w.FindPID(w.socket)
	if api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), reason) {
		w.Errorf("found %d, %v; want none: %s", got, err, reason)
	}
}

func TestFindPIDByCommandLine(t *testing.T) {
	w := newFixture(t)
	w.start(vmm{args: []string{"--api-sock", w.socket}})
	newest := w.start(vmm{args: []string{"--api-sock=" + w.socket, "--id", vm}})
	other := w.start(vmm{args: []string{"--api-sock", "/api.sock"}})
	w.pidfile(strconv.Itoa(other.Process.Pid)) // comes second
	w.wantPID(newest.Process.Pid)
}

func TestFindPIDTakesThePathLiterally(t *testing.T) {
	w := newFixture(t)
	w.start(vmm{args: []string{strings.ReplaceAll(w.socket, ".", "x")}})
	w.wantNone(pidfile)
	spaced := filepath.Join(t.TempDir(), "a b.sock")
	v := w.start(vmm{args: strings.Fields(spaced)}) // as pgrep, which cannot tell
	if pid, err := w.FindPID(spaced); err != nil || pid != v.Process.Pid {
		t.Error(pid, err)
	}
	for _, bad := range []string{"", "/", "api.sock", "/a/../b", "/a/"} {
		if pid, err := w.FindPID(bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %d, %v", bad, pid, err)
		}
	}
}

func TestFindPIDByPidfile(t *testing.T) {
	for name, format := range map[string]string{"as written": "%d", "white space": " \t%d\r\n\n"} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			v := w.start(vmm{args: []string{"--api-sock", "/api.sock"}})
			w.pidfile(fmt.Sprintf(format, v.Process.Pid))
			w.wantPID(v.Process.Pid)
			w.check(os.WriteFile(filepath.Join(w.jail, "api.sock"), nil, 0o600)) // it was gone before
			w.wantPID(v.Process.Pid)
		})
	}
}

func TestFindPIDFollowsARelativeLink(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{})
	w.pidfile(strconv.Itoa(v.Process.Pid))
	to, err := filepath.Rel(filepath.Dir(w.socket), filepath.Join(w.jail, "api.sock"))
	w.check(err)
	w.check(os.Remove(w.socket))
	w.check(os.Symlink(to, w.socket))
	w.wantPID(v.Process.Pid)
}

func TestFindPIDRefusesContent(t *testing.T) {
	w := newFixture(t)
	w.start(vmm{})
	for _, content := range []string{
		"", " \n", "garbage", "-1", "-4711", "+1", "0", "00", "1.5", "0x10", "12 13", "12\x00", "12\n13",
		"4194305", "99999999999999999999", "1" + strings.Repeat(" ", 40), "\u0661", strings.Repeat("9", 1<<16),
	} {
		w.pidfile(content)
		w.wantNone("bad " + pidfile)
	}
}

func TestFindPIDRefusesFiles(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(path string) error
		reason string
	}{
		"missing":   {func(string) error { return nil }, "no such file"},
		"FIFO":      {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"symlink":   {func(path string) error { return os.Symlink("/etc/passwd", path) }, "not a regular file"},
		"dangling":  {func(path string) error { return os.Symlink("/absent", path) }, "not a regular file"},
		"sparse":    {func(path string) error { return sparse(path, 1<<30) }, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.start(vmm{})
			w.check(c.make(filepath.Join(w.jail, pidfile)))
			w.wantNone(c.reason)
		})
	}
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

func TestFindPIDRefusesSockets(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(w *fixture) error
		reason string
	}{
		"missing":    {func(*fixture) error { return nil }, "no such file"},
		"no symlink": {func(w *fixture) error { return os.WriteFile(w.socket, nil, 0o600) }, "not a symlink"},
		"loop":       {func(w *fixture) error { return os.Symlink(w.socket, w.socket) }, "another symlink"},
		"loop of two": {func(w *fixture) error {
			other := filepath.Join(w.jail, "api.sock")
			return linkAll([2]string{other, w.socket}, [2]string{w.socket, other})
		}, "another symlink"},
		"link in the way": {func(w *fixture) error {
			other := filepath.Join(filepath.Dir(w.socket), "jail")
			return linkAll([2]string{w.jail, other}, [2]string{filepath.Join(other, "api.sock"), w.socket})
		}, "symbolic links"},
		"FIFO in the way": { // to open it would wait for a writer
			func(w *fixture) error {
				fifo := filepath.Join(w.jail, "fifo")
				return errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink(filepath.Join(fifo, "api.sock"), w.socket))
			}, "not a directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			v := w.start(vmm{})
			w.pidfile(strconv.Itoa(v.Process.Pid))
			w.check(os.Remove(w.socket))
			w.check(c.make(w))
			w.wantNone(c.reason)
		})
	}
}

func linkAll(links ...[2]string) error {
	for _, l := range links {
		if err := os.Symlink(l[0], l[1]); err != nil {
			return err
		}
	}
	return nil
}

func TestFindPIDRefusesProcesses(t *testing.T) {
	w := newFixture(t)
	ended := w.start(vmm{name: "ended"})
	w.check(ended.Process.Kill())
	_ = ended.Wait()
	stranger := w.start(vmm{name: "sleep"})
	namesake := w.start(vmm{jail: elsewhere(t)})
	for name, c := range map[string]struct {
		pid    int
		reason string
	}{
		"stale":               {ended.Process.Pid, "no such process"},
		"wrong name":          {stranger.Process.Pid, `name: it is "sleep"`},
		"another firecracker": {namesake.Process.Pid, "root: it is not"},
	} {
		t.Run(name, func(t *testing.T) {
			w.T = t
			w.pidfile(strconv.Itoa(c.pid))
			w.wantNone(c.reason)
		})
	}
}

// elsewhere is another jail.
func elsewhere(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFindPIDLooksAtTheBeginning: of a command line of megabytes the beginning counts,
// wherever else it names the socket, and the look costs no more than one at others.
func TestFindPIDLooksAtTheBeginning(t *testing.T) {
	w := newFixture(t)
	v := w.start(vmm{args: []string{"--api-sock", w.socket}})
	late := append(slices.Repeat([]string{strings.Repeat("x", 131000)}, 14), w.socket)
	w.start(vmm{name: "huge", args: late})
	if got := allocated(func() { w.wantPID(v.Process.Pid) }); got > 256<<10 {
		t.Errorf("allocated %d bytes", got)
	}
}

// TestReadPidfileDoesNotWait: the VM's user may have a lease on it, and break it when it
// likes; opening would wait for as long as /proc/sys/fs/lease-break-time, 45 s.
func TestReadPidfileDoesNotWait(t *testing.T) {
	w := newFixture(t)
	w.start(vmm{})
	w.pidfile("1")
	f, err := os.OpenFile(filepath.Join(w.jail, pidfile), os.O_RDWR, 0)
	w.check(err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	w.check(err)
	began := time.Now()
	w.wantNone("temporarily unavailable")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it waited for %s", took)
	}
}
