package fcproc

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/proc"
)

func TestParseCgroup(t *testing.T) {
	for data, want := range map[string]string{
		"0::/\n":                        "/",
		"1:cpu:/x\n0::/a/b.service\n":   "/a/b.service",
		"0::/a::b\n":                    "/a::b",
		"":                              "",
		"0::/cut":                       "",
		"0::relative\n":                 "",
		"0::\n":                         "",
		"10::/\n":                       "",
		"1:name=systemd:/a\n":           "",
		"1:name=x\n0::/first\n0::/no\n": "/first",
	} {
		if got, err := parseCgroup([]byte(data)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", data, got, err, want)
		}
	}
}

func TestParsePIDAtItsLimits(t *testing.T) {
	for text, want := range map[string]int{
		"1": 1, "0": 0, "4194304": maxPID, "4194305": 0,
		"7" + strings.Repeat(" ", maxPidfile-1): 7, "7" + strings.Repeat(" ", maxPidfile): 0,
	} {
		if pid, err := parsePID([]byte(text)); pid != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", text, pid, err)
		}
	}
}

// TestAHintThatLeadsNowhereIsNoEnd: that a process is not the VM's says nothing of
// whether it runs.
func TestAHintThatLeadsNowhereIsNoEnd(t *testing.T) {
	err := hintError("not this one")
	if !errors.Is(err, errHint) || errors.Is(err, proc.ErrGone) || kindOf(err) != api.KindNotFound || kindOf(errHint) == kindOf(os.ErrPermission) {
		t.Errorf("%v is of kind %s", err, kindOf(err))
	}
}

func FuzzParsePID(f *testing.F) {
	f.Add([]byte("4711\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pid, err := parsePID(data)
		if err != nil {
			if pid != 0 {
				t.Errorf("error with a result: %d, %v", pid, err)
			}
			return
		}
		if pid < 1 || pid > maxPID || len(data) > maxPidfile {
			t.Errorf("%q is taken for %d", data, pid)
		}
		if text := strings.TrimLeft(strings.Trim(string(data), " \t\r\n"), "0"); text != strconv.Itoa(pid) {
			t.Errorf("%q is taken for %d", data, pid)
		}
	})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add([]byte("0::/banger.slice\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path, err := parseCgroup(data)
		if err != nil {
			return
		}
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "\n") || !strings.Contains("\n"+string(data), "\n0::"+path+"\n") {
			t.Errorf("%q gives %q", data, path)
		}
	})
}
