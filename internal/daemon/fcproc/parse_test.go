package fcproc

import (
	"strconv"
	"strings"
	"testing"
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
