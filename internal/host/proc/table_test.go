package proc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// fakeTable makes a directory that looks like /proc. A process is a map of
// its files.
func fakeTable(t *testing.T, processes map[int]map[string]string) Table {
	t.Helper()
	root := t.TempDir()
	for pid, files := range processes {
		dir := filepath.Join(root, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"self", "uptime", "-5", "0"} { // no processes
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Table{Root: root}
}

func TestFind(t *testing.T) {
	host := fakeTable(t, map[int]map[string]string{
		10: {"cmdline": "qemu\x00-name\x00a\x00"},
		11: {"cmdline": "qemu\x00-name\x00b\x00"},
		12: {"cmdline": ""}, // a zombie
		13: {},              // vanished between the listing and the look
	})
	match := func(args []string) bool { return len(args) == 3 && args[2] == "a" }
	pids, err := host.find(t.Context(), os.Getuid(), match)
	if err != nil || !slices.Equal(pids, []int{10}) {
		t.Errorf("found %v, %v", pids, err)
	}
	pids, err = host.find(t.Context(), os.Getuid(), func([]string) bool { return true })
	if slices.Sort(pids); err != nil || !slices.Equal(pids, []int{10, 11}) {
		t.Errorf("all that have a command line: found %v, %v", pids, err)
	}
	pids, err = host.find(t.Context(), os.Getuid()+1, match)
	if err != nil || len(pids) != 0 {
		t.Errorf("another user's: found %v, %v", pids, err)
	}
}

func TestTableOfVanishedProcess(t *testing.T) {
	host := fakeTable(t, map[int]map[string]string{5: {"stat": "garbage"}})
	if _, err := host.stat(4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := host.stat(5); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("garbage: %v", err)
	}
	if _, err := host.cmdline(4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestWhoseFaultAnErrorIs(t *testing.T) {
	for err, own := range map[error]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOMEM: true,
		syscall.ENOENT: false, syscall.ESRCH: false, syscall.EACCES: false, ErrGone: false,
	} {
		if isOwn(&os.PathError{Err: err}) != own {
			t.Errorf("%v: %v", err, !own)
		}
	}
	if isOwn(nil) {
		t.Error("none is an error")
	}
}

func TestNewest(t *testing.T) {
	at := func(ticks string) string { return strings.Replace(statLine("x"), "987654", ticks, 1) }
	host := fakeTable(t, map[int]map[string]string{
		10:          {"cmdline": "a\x00", "stat": at("7")},
		11:          {"cmdline": "a\x00", "stat": at("9")},
		12:          {"cmdline": "a\x00", "stat": at("9")},
		13:          {"cmdline": "a\x00", "stat": at("10")},
		14:          {"cmdline": "b\x00", "stat": at("11")},
		15:          {"cmdline": "a\x00"}, // vanished since its command line was read
		os.Getpid(): {"cmdline": "a\x00", "stat": at("12")},
	})
	for _, want := range []int{13, 12, 11, 10, 0} {
		pid, err := host.Newest(t.Context(), func(cmdline []byte) bool { return string(cmdline) == "a\x00" })
		if err != nil || pid != want {
			t.Errorf("%d, %v; want %d", pid, err, want)
		}
		if err := os.RemoveAll(filepath.Join(host.Root, strconv.Itoa(want))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (Table{Root: host.Root + "/absent"}).Newest(t.Context(), nil); err == nil {
		t.Error("no table, and no error")
	}
}
