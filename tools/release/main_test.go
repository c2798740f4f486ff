package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/update/release"
	"banger/tools/release/dist"
)

// session is a directory in which commands are typed.
type session struct{ *testing.T }

func newSession(t *testing.T) session {
	t.Chdir(t.TempDir())
	return session{t}
}

// types runs a command line and returns what it printed.
func (s session) types(line string) (string, error) {
	s.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	before := os.Stdout
	os.Stdout = write
	c := root()
	c.SetArgs(strings.Fields(line))
	c.SetOut(io.Discard)
	failed := c.ExecuteContext(s.Context())
	os.Stdout = before
	write.Close()
	out, err := io.ReadAll(read)
	if err != nil {
		s.Fatal(err)
	}
	return string(out), failed
}

func (s session) ok(line string) string {
	s.Helper()
	out, err := s.types(line)
	if err != nil {
		s.Fatalf("%s: %v", line, err)
	}
	return out
}

func (s session) refused(kind api.Kind, line string) {
	s.Helper()
	if _, err := s.types(line); api.KindOf(err) != kind {
		s.Errorf("%s: %v", line, err)
	}
}

// released makes the files that `publish` reads, with programs that are none.
func (s session) released(version string) {
	s.Helper()
	var files []dist.File
	for _, name := range release.Programs {
		files = append(files, dist.File{Name: name, Mode: 0o755, Data: []byte(name)})
	}
	archive, err := dist.Archive(files, time.Unix(1767225600, 0))
	if err != nil {
		s.Fatal(err)
	}
	all := map[string][]byte{"release.json": fmt.Appendf(nil, `{"version":%q,"commit":"0123456789ab","built_at":"2026-01-01T00:00:00Z"}`, version)}
	for _, arch := range dist.Platforms {
		all[release.Target(version, "linux", arch)] = archive
	}
	dir := filepath.Join("dist", version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	var sums bytes.Buffer
	for name, data := range all {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			s.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, dist.SumsName), sums.Bytes(), 0o644); err != nil {
		s.Fatal(err)
	}
}

// TestAYear plays docs/release.md: from the first keys to a withdrawn release.
func TestAYear(t *testing.T) {
	s := newSession(t)
	s.ok("keys keys")
	s.refused(api.KindExists, "keys keys")
	s.refused(api.KindNotFound, "status")
	s.released("v1.2.3")
	s.refused(api.KindNotFound, "publish --version v1.2.3")
	s.ok("publish --version v1.2.3 --root keys/root.json")
	s.released("v1.3.0")
	s.ok("publish --version v1.3.0")
	s.ok("timestamp")
	s.ok("publish --version v1.2.3 --downgrade-from v1.3.0")
	s.ok("withdraw --version v1.3.0")
	s.refused(api.KindNotFound, "withdraw --version v1.3.0")
	s.ok("renew --targets-valid 24h")
	if err := os.Mkdir("stick", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root-2.pem", "root-3.pem"} {
		if err := os.Rename("keys/"+name, "stick/"+name); err != nil {
			t.Fatal(err)
		}
	}
	s.ok("keys keys --only root")
	s.refused(api.KindDenied, "rotate-root --add root=keys/root-4.pub --threshold root=3")
	s.refused(api.KindInvalid, "rotate-root --add keys/root-4.pub")
	s.ok("rotate-root --add root=keys/root-4.pub --draft draft.json")
	s.ok("rotate-root --keys stick --draft draft.json")
	s.refused(api.KindNotFound, "rotate-root --keys stick --remove keys/root-9.pub")
	s.ok("rotate-root --keys stick --keys keys --remove keys/root-2.pub")
	status := s.ok("status")
	for _, want := range []string{"2 of 3", "older v1.3.0", time.Now().UTC().Add(24 * time.Hour).Format(time.DateOnly)} {
		if !strings.Contains(status, want) {
			t.Errorf("there is no %q in\n%s", want, status)
		}
	}
	if strings.Contains(status, "\nv1.3.0") {
		t.Errorf("v1.3.0 is still offered:\n%s", status)
	}
}

// TestBuildRefusesWhatNobodyCouldBuildAgain: no version, and no commit.
func TestBuildRefusesWhatNobodyCouldBuildAgain(t *testing.T) {
	s := newSession(t)
	if _, err := s.types("build --version v1.2.3"); err == nil {
		t.Error("built from no checkout")
	}
	s.refused(api.KindNotFound, "check dist/v1.2.3")
}
