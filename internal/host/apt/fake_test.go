package apt

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"banger/api"
)

// fakeTools puts programs into the PATH that stand for apt, count what they are
// asked, and fail a download as often as the file "stale" has lines.
func fakeTools(t *testing.T) (calls func(what string) int, dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/sh
dir=` + dir + `
case " $* " in
*" indextargets "*) printf 'Debian\thttp://deb.example.org/debian/\tbookworm\tbookworm\tmain\t%s/list:1\n' "$dir" ;;
*" update "*) echo update >>$dir/calls; sleep 0.2; rm -f $dir/stale ;;
*" --print-uris "*) echo "'http://deb.example.org/k.deb' k.deb 4 SHA256:0" ;;
*" download "*) echo download >>$dir/calls; [ ! -e $dir/stale ] || exit 100; printf data >k.deb ;;
esac
`
	for name, text := range map[string]string{"bin/apt-get": script, "bin/apt-cache": script, "list": "deb http://deb.example.org/debian bookworm main\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	return func(what string) int {
		data, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return strings.Count(string(data), what+"\n")
	}, dir
}

func quiet(api.Progress) {}

func TestUpdatesAtTheSameTimeAreOne(t *testing.T) {
	calls, _ := fakeTools(t)
	a := New(filepath.Join(t.TempDir(), "apt"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := a.Update(t.Context(), false, quiet); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := calls("update"); n != 1 {
		t.Errorf("the lists were fetched %d times", n)
	}
	if err := a.Update(t.Context(), true, quiet); err != nil || calls("update") != 2 {
		t.Errorf("by force: %v, %d times", err, calls("update"))
	}
	old := time.Now().Add(-freshFor - time.Minute)
	if err := os.Chtimes(a.stamp(), old, old); err != nil {
		t.Fatal(err)
	}
	if err := a.Update(t.Context(), false, quiet); err != nil || calls("update") != 3 {
		t.Errorf("of old age: %v, %d times", err, calls("update"))
	}
}

func TestStaleListsAreFetchedAgainOnce(t *testing.T) {
	calls, dir := fakeTools(t)
	a := New(filepath.Join(t.TempDir(), "apt"))
	if err := a.Update(t.Context(), false, quiet); err != nil {
		t.Fatal(err)
	}
	stale := func() {
		if err := os.WriteFile(filepath.Join(dir, "stale"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stale()
	if _, err := a.Download(t.Context(), []string{"k"}, t.TempDir(), quiet); err == nil || api.AsError(err).Hint == "" || calls("update") != 1 {
		t.Errorf("with fresh lists: %v, %d updates", err, calls("update"))
	}
	old := time.Now().Add(-retryAfter - time.Minute)
	if err := os.Chtimes(a.stamp(), old, old); err != nil {
		t.Fatal(err)
	}
	stale()
	debs, err := a.Download(t.Context(), []string{"k"}, t.TempDir(), quiet)
	if err != nil || len(debs) != 1 || calls("update") != 2 {
		t.Fatalf("with old lists: %v, %v, %d updates", debs, err, calls("update"))
	}
	if data, err := os.ReadFile(debs[0]); err != nil || string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
}
