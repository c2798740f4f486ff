package fcrelease

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"banger/api"
	"banger/internal/system/fcrelease/fctest"
	"banger/internal/update/repotest"
)

func TestGetNewest(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // as a careful root has it
	fx := newFixture(t)
	fx.page.Publish("1.16.1")
	r, err := fx.Get(t.Context(), Want{})
	check(t, err)
	if r.Version != "1.16.1" || r.Previous != "" || r.From != fx.page.URL()+"/download/v1.16.1/"+fctest.Name("1.16.1") {
		t.Errorf("%+v", r)
	}
	if asked := fx.page.Asked(); !slices.Equal(asked, []string{fctest.Name("1.16.1") + ".sha256.txt", fctest.Name("1.16.1")}) {
		t.Error("asked for", asked)
	}
	entries, err := os.ReadDir(fx.path(versionsDir, "1.16.1"))
	check(t, err)
	if len(entries) != 3 {
		t.Errorf("it took %v", entries)
	}
	for _, name := range []string{"firecracker", "jailer"} {
		info, err := os.Stat(fx.path(currentLink, name))
		if err != nil || info.Mode() != 0o755 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, dir := range []string{fx.Dir, fx.path(versionsDir), fx.path(versionsDir, "1.16.1")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	if known, err := fx.digests(); err != nil || known[fctest.Name("1.16.1")] != r.Archive {
		t.Errorf("%v, %v", known, err)
	}
	// Once more: its digest is looked at, and nothing else.
	before := tree(t, fx.Dir)
	if _, err := fx.Get(t.Context(), Want{Version: "v1.16.1"}); err != nil {
		t.Error(err)
	}
	if asked := fx.page.Asked(); len(asked) != 1 || !strings.HasSuffix(asked[0], ".sha256.txt") {
		t.Error("asked again for", asked)
	}
	if after := tree(t, fx.Dir); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// TestGetDamaged: programs that are not as they were got are got again, and what was
// before them is remembered.
func TestGetDamaged(t *testing.T) {
	fx := newFixture(t).with("1.16.0", "1.16.1")
	before := tree(t, fx.Dir)
	check(t, os.WriteFile(fx.Program("1.16.1", "jailer"), []byte("damaged"), 0o755))
	r, err := fx.Get(t.Context(), Want{})
	if err != nil || r.Previous != "1.16.0" {
		t.Errorf("%+v, %v", r, err)
	}
	if after := tree(t, fx.Dir); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// TestTriedAsNobody: what is not trusted yet is run without root's rights and
// environment.
func TestTriedAsNobody(t *testing.T) {
	t.Setenv("SECRET", "of root's")
	script := filepath.Join(openDir(t), "firecracker")
	check(t, os.WriteFile(script, []byte("#!/bin/sh\n/usr/bin/id -u; /usr/bin/id -G; /usr/bin/env | /bin/grep -c SECRET; echo $1\n"), 0o755))
	said, err := Version(t.Context(), script)
	want := "65534\n65534\n0\n--version\n"
	if os.Getuid() != 0 {
		_, said, _ = strings.Cut(said, "\n")
		_, said, _ = strings.Cut(said, "\n")
		want = "0\n--version\n"
	}
	if err != nil || said != want {
		t.Errorf("%q, %v", said, err)
	}
	check(t, os.WriteFile(script, []byte("#!/bin/sh\nexec /bin/sleep 60\n"), 0o755))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Version(ctx, script); err == nil {
		t.Error("it waits for a program that does not end")
	}
}

func TestFrom(t *testing.T) {
	file := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		check(t, os.WriteFile(path, data, 0o644))
		return path
	}
	good := fctest.Archive("1.16.1")
	fx := newFixture(t).with("1.16.0")
	before := tree(t, fx.Dir)
	fifo := filepath.Join(t.TempDir(), fctest.Name("1.16.1"))
	check(t, syscall.Mkfifo(fifo, 0o600))
	wrong := file(fctest.Name("1.16.1"), good)
	check(t, os.WriteFile(wrong+".sha256.txt", fctest.Sum("1.16.1", []byte("another")), 0o644))
	other := file(fctest.Name("1.16.0"), repotest.Archive(append(fctest.Entries("1.16.0"), repotest.Entry{Name: "more", Data: []byte("x")})...))
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), fctest.Name("1.16.1")): "file does not exist",
		filepath.Dir(fifo):            "cannot find the version in the name",
		fifo:                          "it is not a regular file",
		file("firecracker.tgz", good): "cannot find the version in the name",
		file("firecracker-v1.16.1-aarch64.tgz", good):         "it is for aarch64, but this machine is x86_64",
		file(fctest.Name("1.7.0"), fctest.Archive("1.7.0")):   "it has no ACPI tables",
		file(fctest.Name("1.16.2"), good):                     "release-v1.16.2-x86_64/firecracker-v1.16.2-x86_64 is missing",
		file(fctest.Name("1.16.1"), []byte("not an archive")): "it is not compressed with gzip",
		file(fctest.Name("1.16.1"), good[:len(good)/2]):       "it is cut off",
		wrong: "was published",
		other: "a release must not change",
	} {
		if _, err := fx.Get(t.Context(), Want{File: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if after := tree(t, fx.Dir); after != before {
			t.Fatalf("%s: it was\n%s\nand is\n%s", path, before, after)
		}
	}
	// Without a digest beside it, it is taken at its owner's word, which is said.
	path := file(fctest.Name("1.16.1"), good)
	fx.steps = nil
	if r, err := fx.Get(t.Context(), Want{File: path}); err != nil || r.From != path || fx.used() != "1.16.1" {
		t.Errorf("%+v, %v", r, err)
	}
	if !slices.ContainsFunc(fx.steps, func(s string) bool { return strings.Contains(s, "so the archive's origin is not verified") }) {
		t.Error(fx.steps)
	}
	if known, _ := fx.digests(); len(known) != 1 {
		t.Error("a digest counts as published:", known)
	}
	fx = newFixture(t)
	check(t, os.WriteFile(path+".sha256.txt", fctest.Sum("1.16.1", good), 0o644))
	if _, err := fx.Get(t.Context(), Want{File: path}); err != nil || len(fx.steps) != 3 {
		t.Errorf("%v: %q", err, fx.steps)
	}
	if known, _ := fx.digests(); len(known) != 1 {
		t.Error("the digest that was published is forgotten")
	}
	if asked := fx.page.Asked(); len(asked) != 0 {
		t.Error("it asked for", asked)
	}
}

// TestRedirects: to wherever it is encrypted, and without encryption only where nobody
// is in between and nothing was encrypted before.
func TestRedirects(t *testing.T) {
	for _, c := range []struct {
		from, to string
		refused  bool
	}{
		{"https://example.com/a", "https://example.net/b", false},
		{"https://example.com/a", "http://example.com/a", true},
		{"https://example.com/a", "http://127.0.0.1/a", true},
		{"http://127.0.0.1:8000/a", "https://example.com/a", false},
		{"http://127.0.0.1:8000/a", "http://localhost:9000/a", false},
		{"http://127.0.0.1:8000/a", "http://example.com/a", true},
	} {
		from, err := http.NewRequest(http.MethodGet, c.from, nil)
		check(t, err)
		to, err := http.NewRequest(http.MethodGet, c.to, nil)
		check(t, err)
		if err := checkRedirect(to, []*http.Request{from}); (err != nil) != c.refused {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "1", "1.16", "1.16.1/../..", "../1.16.1", "v1.16.1 ", "latest", "1.16.1-", "1.16.1-/x", "vv1.16.1", "123456.0.0"} {
		if v, err := parseVersion(bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q is %v, %v", bad, v, err)
		}
	}
	for text, want := range map[string]string{"1.16.1": "1.16.1", "v1.16.1": "1.16.1", "1.17.0-dev": "1.17.0-dev"} {
		if v, err := parseVersion(text); err != nil || v.String() != want {
			t.Errorf("%q is %v, %v", text, v, err)
		}
	}
	if err := CheckSource("https://example.com/releases"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"http://example.com/releases", "ftp://example.com", "example.com", "https://me:secret@example.com"} {
		if err := CheckSource(bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
