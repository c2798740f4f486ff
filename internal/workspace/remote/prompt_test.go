package remote

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// screen is what a terminal shows.
type screen struct {
	sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.text.Write(p)
}

func (s *screen) shows(text string) bool {
	s.Lock()
	defer s.Unlock()
	return strings.Contains(s.text.String(), text)
}

// TestGitAsks on the terminal that the command has: a program of another process group would be
// stopped instead.
func TestGitAsks(t *testing.T) {
	dir := newRepo(t)
	url := serve(t, filepath.Dir(dir), func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == secret {
			return false
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	clone := filepath.Join(t.TempDir(), "w", "clone")
	self := exec.Command(os.Args[0], clone)
	self.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_TERMINAL_PROMPT=") })
	self.Env = append(self.Env, slowEnv+"="+url+"/project/.git")
	terminal, err := pty.Start(self)
	must(t, err)
	defer terminal.Close()
	var shown screen
	go func() { _, _ = io.Copy(&shown, terminal) }() // ends with the terminal
	defer self.Process.Kill()
	within(t, "git asks for the user", func() bool { return shown.shows("Username for") })
	_, err = terminal.WriteString("me\n")
	must(t, err)
	within(t, "git asks for the password", func() bool { return shown.shows("Password for") })
	_, err = terminal.WriteString(secret + "\n")
	must(t, err)
	within(t, "it is cloned", func() bool { return shown.shows("<nil>") })
	if _, err := os.Stat(filepath.Join(clone, "project", "three")); err != nil {
		t.Error(err)
	}
	checkFiles(t, clone)
}
