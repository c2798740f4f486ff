package blockdev

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/vmid"
)

// childEnv makes a process of this test do one thing and wait to be killed:
// "step id base cow", or "hold device".
const childEnv = "BANGER_TEST_BLOCKDEV_CHILD"

func TestMain(m *testing.M) {
	if step := os.Getenv(childEnv); step != "" {
		if err := childDo(step, os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childDo does what AttachSnapshot does, up to a step; or all of it.
func childDo(step string, args []string) error {
	if step == "hold" {
		f, err := os.OpenFile(args[0], os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return say("ready")
	}
	id := args[0]
	base, err := os.Open(args[1])
	if err != nil {
		return err
	}
	cow, err := os.OpenFile(args[2], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if step == "attach" {
		d, err := AttachSnapshot(context.Background(), id, base, cow)
		if err != nil {
			return err
		}
		return say(d.Name)
	}
	return childHalf(step, id, base, cow)
}

func childHalf(step, id string, base, cow *os.File) error {
	s, err := newSnapshot(id, base, cow)
	if err != nil {
		return err
	}
	unlock, err := lockVM(context.Background(), id)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := acquire(context.Background(), s.base)
	if err != nil {
		return err
	}
	c, err := acquire(context.Background(), s.cow)
	if err != nil {
		return err
	}
	if step == "loops" {
		return say("ready")
	}
	m, err := openMapper()
	if err != nil {
		return err
	}
	if _, err := m.create(s.name); err != nil {
		return err
	}
	if step == "created" {
		return say("ready")
	}
	if err := m.load(s.name, s.target(b, c)); err != nil {
		return err
	}
	return say("ready")
}

// say prints the line and waits for the end of standard input.
func say(line string) error {
	fmt.Println(line)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// process is a child of the test.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	line  string // that it said
}

func child(t *testing.T, step string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("/proc/self/exe", args...)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+step)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	p.line, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("the child said %q: %v", p.line, err)
	}
	return p
}

// kill kills the child with SIGKILL and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // gone already, maybe
	_ = p.cmd.Wait()
}

func needLoops(t *testing.T) {
	t.Helper()
	if err := AvailablePlain(); err != nil {
		t.Skipf("NOT RUN: loop devices: %v", err)
	}
}

func needSnapshots(t *testing.T) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("NOT RUN: device-mapper snapshots: %v", err)
	}
}

// fileOf makes a file of the content, open for reading and writing.
func fileOf(t *testing.T, size int64, content string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// forVM returns a VM's id, whose devices are gone when the test ends.
func forVM(t *testing.T, n int) string {
	t.Helper()
	id := fmt.Sprintf("%012x", 0xb10c00000000+n)
	t.Cleanup(func() {
		if err := Detach(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	return id
}

// loopsOver counts the loop devices over the file.
func loopsOver(t *testing.T, f *os.File) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := eachLoop(func(l *loop) (bool, error) {
		if l.info.Device == st.Dev && l.info.Inode == st.Ino {
			n++
		}
		return false, nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// noLoops waits until there is no loop device over any of the files: the kernel
// unbinds them when udev, too, has had its look.
func noLoops(t *testing.T, files ...*os.File) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, f := range files {
		err := retry(ctx, func() error {
			if loopsOver(t, f) > 0 {
				return errInUse
			}
			return nil
		})
		if err != nil {
			t.Errorf("loop devices over %s are left: %v", f.Name(), err)
		}
	}
}

// nothingOf wants a failed attempt to have left nothing of a VM. A loop device goes
// with its last user, which udev is for a moment.
func nothingOf(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := retry(ctx, func() error {
		if len(objectsOf(t, id)) > 0 {
			return errInUse
		}
		return nil
	})
	if err != nil {
		t.Errorf("left: %+v", objectsOf(t, id))
	}
}

// objectsOf lists what there is for a VM.
func objectsOf(t *testing.T, id string) []Object {
	t.Helper()
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	var found []Object
	for _, o := range all {
		if o.ID == id {
			if o.Kind == KindMapped && o.Name != vmid.Device(id) {
				t.Errorf("%+v", o)
			}
			found = append(found, o)
		}
	}
	return found
}
