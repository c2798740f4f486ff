package vm

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"banger/api"
	"banger/internal/driver/fake"
	"banger/internal/guest/hostfiles"
	"banger/internal/op"
)

// notesOf waits for an operation and returns its notes.
func notesOf(t *testing.T, o *op.Op, err error) (notes []string) {
	t.Helper()
	if err == nil {
		err = o.Follow(t.Context(), func(e api.Event) error {
			if e.Progress != nil && e.Progress.Step == api.StepNote {
				notes = append(notes, e.Progress.Message)
			}
			return nil
		})
	}
	if err == nil {
		err = o.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

// ownHome makes a home directory of the owner with files.
func ownHome(t *testing.T, files map[string]string) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// TestFilesAreThereBeforeTheCommand: each start copies the files, the command finds them, and
// a file that cannot be copied only leads to a note.
func TestFilesAreThereBeforeTheCommand(t *testing.T) {
	home := ownHome(t, map[string]string{"key": "one"})
	if err := os.Symlink("/etc/passwd", filepath.Join(home, "out")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{Cmd: []string{"sh", "-c", "cat etc/key >> seen"}, WorkingDir: "/"}
	w.files = hostfiles.Wanted{Rules: []hostfiles.Rule{
		{Host: "~/key", Guest: "/etc/key", Mode: 0o600}, {Host: "~/none", Guest: "/etc/none"}, {Host: "~/out", Guest: "/etc/out"},
		{Host: home + "/nothing", Guest: "/etc/nothing"},
	}}
	want := []string{
		"cannot copy ~/out into VM dev: it is a symbolic link out of " + home + ", which is not followed",
		"not copied into VM dev: this host has no ~/none, " + home + "/nothing",
	}
	o, err := w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true, Background: &api.Background{}})
	if diff := diff.Diff(want, notesOf(t, o, err)); diff != "" {
		t.Error(diff)
	}
	root := filepath.Join(w.Paths.VM(w.show("dev").ID), fake.RootDir)
	await := func(want string) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			text, err := os.ReadFile(filepath.Join(root, "seen"))
			if string(text) == want {
				return
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%q, %v", text, err)
			}
		}
	}
	await("one")
	if info, err := os.Stat(filepath.Join(root, "etc/key")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(home, "key"), []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(w.Restart(t.Context(), "dev", api.StartVM{}))
	await("onetwo")
}

// TestSyncFiles: owners are those of the guest, directories above a copy belong to them, links
// stay links, and what is no file is named.
func TestSyncFiles(t *testing.T) {
	home := ownHome(t, map[string]string{"nvim/init.lua": "x", "nvim/lua/a.lua": "a", "key": "k", "huge": ""})
	if err := syscall.Mkfifo(filepath.Join(home, "nvim/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(home, "nvim/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "huge"), make([]byte, 65<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.caches.config = &api.ImageConfig{User: "dev"}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	root := filepath.Join(w.Paths.VM(w.show("dev").ID), fake.RootDir)
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := "root:x:0:0::/root:/bin/sh\nbad\ndev:x:1234:1235::/home/dev:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	w.files = hostfiles.Wanted{Rules: []hostfiles.Rule{
		{Host: "~/nvim", Guest: "~/.config/nvim", Mode: 0o640}, {Host: "~/key", Guest: "/srv/key", Owner: "dev:77"},
		{Host: "~/key", Guest: "/srv/other", Owner: "nobody"}, {Host: "~/huge", Guest: "/srv/huge"}, {Host: "~/key", Guest: "/srv/large", Large: true},
		{Host: "~/nvim/pipe", Guest: "/srv/pipe"}, {Host: "~/key", Guest: "/etc/passwd/key"},
	}}
	done, err := w.SyncFiles(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	want := []api.SyncedFile{
		{Host: "~/nvim", Guest: "/home/dev/.config/nvim", Result: api.SyncCopied, Warnings: []string{"nvim/pipe is a named pipe: skipped"}},
		{Host: "~/key", Guest: "/srv/key", Result: api.SyncCopied},
		{Host: "~/key", Guest: "/srv/other", Result: api.SyncFailed, Reason: `the guest has no user "nobody"`},
		{Host: "~/huge", Guest: "/srv/huge", Result: api.SyncFailed, Reason: "it has more than 64 MiB or 10000 files: large = true allows that"},
		{Host: "~/key", Guest: "/srv/large", Result: api.SyncCopied},
		{Host: "~/nvim/pipe", Guest: "/srv/pipe", Result: api.SyncFailed, Reason: "it is a named pipe, which is not copied"},
		{Host: "~/key", Guest: "/etc/passwd/key", Result: api.SyncFailed, Reason: "cannot copy to /etc/passwd/key: /etc/passwd is not a directory in the guest"},
	}
	if diff := diff.Diff(want, done.Files); diff != "" || done.VM != "dev" {
		t.Error(diff)
	}
	owned := map[string][2]uint32{
		"home": {1234, 1235}, "home/dev": {1234, 1235}, "home/dev/.config/nvim/lua/a.lua": {1234, 1235}, "srv": {1234, 77}, "srv/key": {1234, 77}, "srv/large": {0, 0},
	}
	for name, ids := range owned {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Error(err)
		} else if os.Geteuid() == 0 && (st.Uid != ids[0] || st.Gid != ids[1]) {
			t.Errorf("%s belongs to %d:%d, want %v", name, st.Uid, st.Gid, ids)
		}
	}
	if link, err := os.Readlink(filepath.Join(root, "home/dev/.config/nvim/link")); link != "/etc/passwd" {
		t.Errorf("the link: %q, %v", link, err)
	}
	for name, mode := range map[string]os.FileMode{"home/dev/.config/nvim/init.lua": 0o640, "home/dev/.config/nvim": os.ModeDir | 0o750, "home/dev/.config": os.ModeDir | 0o755} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if names, _ := os.ReadDir(filepath.Join(root, "srv")); slices.ContainsFunc(names, func(d os.DirEntry) bool { return d.Name() == "huge" || d.Name() == "other" }) {
		t.Errorf("copied all the same: %v", names)
	}
}

// TestSyncsFollowEachOther: two copies into one guest at once would replace each other's files.
func TestSyncsFollowEachOther(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("dir/%d", i)] = strings.Repeat("x", 4096)
	}
	ownHome(t, files)
	w := newWorld(t)
	w.files = hostfiles.Wanted{Rules: []hostfiles.Rule{{Host: "~/dir", Guest: "/srv/dir"}, {Host: "~/none", Guest: "/srv/none"}}}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			done, err := w.SyncFiles(t.Context(), "dev")
			if err != nil || len(done.Files) != 2 || done.Files[0].Result != api.SyncCopied || done.Files[1].Result != api.SyncMissing {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
	all.Wait()
	w.must(w.Stop(t.Context(), "dev", api.StopVM{}))
	if _, err := w.SyncFiles(t.Context(), "dev"); api.KindOf(err) != api.KindConflict {
		t.Errorf("a VM that does not run: %v", err)
	}
}

// TestProfileIsApplied: the settings complete a request before it is checked, and a request for the
// default network has one whatever they say.
func TestProfileIsApplied(t *testing.T) {
	w := newWorld(t)
	w.apply = func(req api.CreateVM) (api.CreateVM, error) {
		if req.Profile == "none" {
			return req, api.Errorf(api.KindNotFound, "no profile named %q", req.Profile)
		}
		req.VCPUs, req.Network = 3, cmp.Or(req.Network, api.NetworkNone)
		return req, nil
	}
	w.must(w.Create(t.Context(), api.CreateVM{Name: "a", Profile: "web"}))
	w.must(w.Create(t.Context(), api.CreateVM{Name: "b", Profile: "web", Network: api.NetworkNAT}))
	if a, b := w.show("a"), w.show("b"); a.VCPUs != 3 || a.Network != api.NetworkNone || b.Network != "" {
		t.Errorf("%+v\n%+v", a, b)
	}
	if err := w.do(w.Create(t.Context(), api.CreateVM{Profile: "none"})); api.KindOf(err) != api.KindNotFound {
		t.Errorf("an unknown profile: %v", err)
	}
}
