package execx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// roleEnv makes a process of this test either root, who was started with files, a key
// and more that are nobody else's, or the program that says what it has of them.
const roleEnv = "BANGER_TEST_EXECX_ROLE"

const secretKey = "banger-test-secret"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "root":
		err = beRoot()
	case "program":
		err = json.NewEncoder(os.Stdout).Encode(look())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inherited is what a program has.
type inherited struct {
	UID       int
	Files     []string // beside standard input, output and error
	Key       string   // why the key cannot be had, or ""
	Groups    []int
	Umask     int
	Terminal  bool
	Dir       string
	Spared    string // oom_score_adj
	ExtraFile string // what is read from descriptor 3
}

func look() inherited {
	i := inherited{UID: os.Getuid(), Umask: unix.Umask(0)}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		// What Go's runtime opens by itself is not inherited.
		own := slices.ContainsFunc([]string{"/proc/", "/sys/fs/cgroup/", "anon_inode:"}, func(p string) bool { return strings.HasPrefix(target, p) })
		if fd := e.Name(); err == nil && fd > "2" && !own {
			i.Files = append(i.Files, fd+" "+target)
		}
	}
	if _, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", secretKey, 0); err != nil {
		i.Key = err.Error()
	}
	i.Groups, _ = os.Getgroups()
	if tty, err := os.Open("/dev/tty"); err == nil {
		i.Terminal = true
		tty.Close()
	}
	i.Dir, _ = os.Getwd()
	spared, _ := os.ReadFile("/proc/self/oom_score_adj")
	i.Spared = strings.TrimSpace(string(spared))
	if slices.Contains(os.Args, "extra") {
		text := make([]byte, 10)
		n, _ := os.NewFile(3, "extra").Read(text)
		i.ExtraFile = string(text[:n])
	}
	return i
}

// beRoot runs the program as the arguments say.
func beRoot() error {
	unix.Umask(0)
	if f, err := unix.Open("/etc/shadow", unix.O_RDONLY, 0); err != nil || unix.Dup3(f, 9, 0) != nil || unix.Close(f) != nil {
		return fmt.Errorf("cannot open a file of root's: %w", err)
	}
	// Without CAP_SYS_RESOURCE, as in some containers, it stays what it is.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-500"), 0); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	c := Cmd{
		Name: "/proc/self/exe", Args: os.Args[1:], Dir: "/", Bare: true, Env: []string{roleEnv + "=program"}, Stdout: os.Stdout,
		Attr: &syscall.SysProcAttr{Setsid: true},
	}
	if slices.Contains(os.Args, "another") {
		c.Attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	if slices.Contains(os.Args, "extra") {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		w.WriteString("extra")
		w.Close()
		c.ExtraFiles = []*os.File{r}
	}
	err := Run(context.Background(), c)
	if after := unix.Umask(0); err == nil && after != 0 {
		err = fmt.Errorf("our own umask became %o", after)
	}
	if _, keyErr := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", secretKey, 0); err == nil && keyErr != nil {
		err = fmt.Errorf("our own key is gone: %w", keyErr)
	}
	return err
}

// asRoot has root run the program.
func asRoot(t *testing.T, args ...string) inherited {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root runs programs as somebody else")
	}
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { // the keyring is this thread's, and goes with it
		runtime.LockOSThread()
		_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
		if err == nil {
			_, err = unix.AddKey("user", secretKey, []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
		}
		if err != nil {
			done <- fmt.Errorf("no key can be had: %w", err)
			return
		}
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), roleEnv+"=root"), &out, os.Stderr
		done <- cmd.Run()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var i inherited
	if err := json.Unmarshal(out.Bytes(), &i); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	return i
}

// TestAnotherUserInheritsNothing: what runs as somebody else has what it was given.
func TestAnotherUserInheritsNothing(t *testing.T) {
	i := asRoot(t, "another")
	if i.UID != 65534 || len(i.Files) != 0 || len(i.Groups) != 0 || i.Umask != 0o022 || i.Terminal || i.Dir != "/" || strings.HasPrefix(i.Spared, "-") {
		t.Errorf("%+v", i)
	}
	if i.Key == "" {
		t.Error("it can use a key of root's session")
	}
}

// TestExtraFilesAreGiven: those, and no others.
func TestExtraFilesAreGiven(t *testing.T) {
	for _, args := range [][]string{{"another", "extra"}, {"extra"}} {
		i := asRoot(t, args...)
		if i.ExtraFile != "extra" || len(i.Files) != 1 || !strings.HasPrefix(i.Files[0], "3 pipe:") {
			t.Errorf("%v: %+v", args, i)
		}
	}
}

// TestTheSameUserGoesOn: a program of our own has our keys, as one that asks for
// passwords needs them, and no file.
func TestTheSameUserGoesOn(t *testing.T) {
	i := asRoot(t)
	if i.UID != 0 || len(i.Files) != 0 || i.Key != "" || i.Umask != 0 {
		t.Errorf("%+v", i)
	}
	if i.Spared != "-500" {
		t.Log("NOT TESTED: who is spared when memory is short: this root has no CAP_SYS_RESOURCE")
	}
}

// TestADeathSignalIsOfTheWholeProgram: a program that is to end with us does not end
// with the thread that started it, whoever it runs as.
func TestADeathSignalIsOfTheWholeProgram(t *testing.T) {
	for _, attr := range []*syscall.SysProcAttr{
		{Pdeathsig: syscall.SIGKILL},
		{Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}},
	} {
		if attr.Credential != nil && os.Geteuid() != 0 {
			continue // only root starts programs as somebody else
		}
		if err := Run(t.Context(), Cmd{Name: "sleep", Args: []string{"0.3"}, Attr: attr, Dir: "/"}); err != nil {
			t.Errorf("%+v: %v", attr, err)
		}
	}
}
