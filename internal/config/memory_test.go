package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMemoryFor: the smallest limit of a group and those above it counts, if it is below
// what the host has.
func TestMemoryFor(t *testing.T) {
	root := t.TempDir()
	limit := func(group, max string) {
		dir := filepath.Join(root, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "memory.max"), []byte(max+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	limit("banger.slice", "max")
	limit("user.slice", "3000")
	limit("user.slice/user-7.slice", "2000")
	limit("user.slice/user-7.slice/app", "max")
	limit("large.slice", "9000")
	for group, want := range map[string]struct {
		bytes int64
		whose string
	}{
		"/":                           {5000, "this host"},
		"banger.slice":                {5000, "this host"},
		"missing.slice":               {5000, "this host"},
		"/large.slice":                {5000, "this host"},
		"/user.slice":                 {3000, "the control group /user.slice"},
		"user.slice/user-7.slice/app": {2000, "the control group /user.slice/user-7.slice"},
		"/user.slice/missing":         {3000, "the control group /user.slice"},
	} {
		if bytes, whose := (Host{MemoryBytes: 5000}).memoryFor(root, group); bytes != want.bytes || whose != want.whose {
			t.Errorf("%s: %d of %s", group, bytes, whose)
		}
	}
}

func TestOwnCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/user.slice/x.scope\n":                   "/user.slice/x.scope",
		"12:memory:/a\n1:name=systemd:/b\n0::/c d\n": "/c d",
		"3:memory:/a\n":                              "/",
		"":                                           "/",
	} {
		if got := ownCgroup(text); got != want {
			t.Errorf("%q gives %q", text, got)
		}
	}
}
