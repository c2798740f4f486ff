package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

func sample() Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Record{
		Owner: "alice", UID: 1000, GID: 1000, Home: "/home/alice", Version: "v1.2.3", Commit: "0123456789ab",
		BuiltAt: at, InstalledAt: at, UIDBase: DefaultBase, UIDCount: Slots, Network: "10.213.0.0/16", IPForwardBefore: "0",
	}
}

func TestWrittenAndReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "install.toml")
	if err := sample().Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadOwned(path, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Error(diff)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
		t.Error(info.Mode())
	}
	if _, err := ReadOwned(path+"x", 0); api.KindOf(err) != api.KindNotFound {
		t.Error(err)
	}
}

// TestTamperedFiles changes one thing of a good record.
func TestTamperedFiles(t *testing.T) {
	good := filepath.Join(t.TempDir(), "install.toml")
	if err := sample().Write(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]struct{ old, new string }{
		"an unknown key":           {"uid =", "shell = \"/bin/sh\"\nuid ="},
		"a missing key":            {"uid_count = 16384\n", ""},
		"root as owner":            {"uid = 1000", "uid = 0"},
		"root's group":             {"gid = 1000", "gid = 0"},
		"a negative uid":           {"uid = 1000", "uid = -1"},
		"a text for a uid":         {"uid = 1000", "uid = \"1000\""},
		"an option for an owner":   {`"alice"`, `"-x"`},
		"a line break in an owner": {`"alice"`, `"alice\nGroup=root"`},
		"a relative home":          {"/home/alice", "home/alice"},
		"a home with dots":         {"/home/alice", "/home/../etc"},
		"a path for a version":     {"v1.2.3", "../../x"},
		"system uids":              {"uid_base = 1900000000", "uid_base = 0"},
		"uids beyond the end":      {"uid_base = 1900000000", "uid_base = 2147480000"},
		"too many uids":            {"uid_count = 16384", "uid_count = 100000"},
		"no network":               {"10.213.0.0/16", "all"},
		"the internet":             {"10.213.0.0/16", "8.0.0.0/8"},
		"a small network":          {"10.213.0.0/16", "10.213.0.0/24"},
		"a network with host bits": {"10.213.0.0/16", "10.213.0.1/16"},
		"ip_forward":               {`ip_forward_before = "0"`, `ip_forward_before = "2"`},
		"no TOML":                  {"owner", "= ="},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(string(text), change.old, change.new, 1)
			if changed == string(text) {
				t.Fatal("nothing was changed")
			}
			path := filepath.Join(t.TempDir(), "install.toml")
			if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadOwned(path, os.Getuid())
			if api.KindOf(err) != api.KindDenied || !strings.Contains(api.AsError(err).Hint, "system install") {
				t.Error(err)
			}
		})
	}
}

func TestFilesOthersCanChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "install.toml")
	if err := sample().Write(path); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadOwned(link, os.Getuid()); api.KindOf(err) != api.KindDenied {
		t.Error("a link:", err)
	}
	if _, err := ReadOwned(path, os.Getuid()+1); api.KindOf(err) != api.KindDenied {
		t.Error("another's file:", err)
	}
	if _, err := ReadOwned(t.TempDir(), os.Getuid()); api.KindOf(err) != api.KindDenied {
		t.Error("a directory:", err)
	}
	for _, mode := range []os.FileMode{0o664, 0o646} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadOwned(path, os.Getuid()); api.KindOf(err) != api.KindDenied {
			t.Error(mode, err)
		}
	}
}

func accounts(subuid, passwd string) Accounts {
	return Accounts{
		Passwd: []byte("root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n+::::::\n" + passwd),
		Group:  []byte("root:x:0:\nalice:x:1000:\n"), SubUID: []byte(subuid),
	}
}

func TestFreeRange(t *testing.T) {
	for name, c := range map[string]struct {
		a    Accounts
		want int // 0: refused
	}{
		"nobody is near":           {accounts("alice:100000:65536\n", ""), DefaultBase},
		"an account in the middle": {accounts("", "x:x:1900000010:5::/:\n"), 1900000011},
		"an account's group":       {accounts("", "x:x:5:1900016383::/:\n"), 1900016384},
		"an account just behind":   {accounts("", "x:x:1900016384:5::/:\n"), DefaultBase},
		"an account just before":   {accounts("", "x:x:1899999999:5::/:\n"), DefaultBase},
		"subordinate ids":          {accounts("alice:1899999990:65536\n", ""), 1900065526},
		"two in a row":             {accounts("a:1900000000:10\nb:1900000010:10\n", ""), 1900000020},
		"all is taken":             {accounts("a:1000000000:3000000000\n", ""), 0},
		"nonsense":                 {accounts("a:b:c\nalice:1900000000\n::\nx:1900000000:0\n", ""), DefaultBase},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.a.FreeRange(DefaultBase, Slots)
			if got != c.want || (err != nil) != (c.want == 0) {
				t.Errorf("got %d, %v; want %d", got, err, c.want)
			}
		})
	}
}

func TestCheckAgainstAccounts(t *testing.T) {
	a := accounts("", "")
	alice, ok := a.Lookup("alice")
	if !ok || alice.UID != 1000 || alice.Home != "/home/alice" {
		t.Fatal(alice, ok)
	}
	if err := sample().Check(alice, a); err != nil {
		t.Error(err)
	}
	if err := sample().Check(User{Name: "alice", UID: 1001, GID: 1000}, a); api.KindOf(err) != api.KindDenied {
		t.Error("another uid:", err)
	}
	if err := sample().Check(alice, accounts("bob:1900000000:65536\n", "")); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "bob of /etc/subuid") {
		t.Error("an overlap:", err)
	}
	if _, ok := a.Lookup("bob"); ok {
		t.Error("bob was found")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("owner = \"alice\"\nuid = 1000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "install.toml")
		if err := r.Write(path); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := ReadOwned(path, os.Getuid()); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte("a:1900000000:65536\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a := Accounts{Passwd: text, Group: text, SubUID: text, SubGID: text}
		base, err := a.FreeRange(DefaultBase, Slots)
		if err != nil {
			return
		}
		if s, taken := a.overlap(base, Slots); taken {
			t.Fatalf("%d overlaps %+v", base, s)
		}
	})
}
