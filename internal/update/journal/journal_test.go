package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"banger/internal/host/proc"
)

func fullJournal() Journal {
	text := "[Unit]\n"
	return Journal{
		Format: Format, ID: "0123456789ab", State: Probing,
		From: Build{Version: "v1.0.0", Commit: "abc"}, To: Build{Version: "v1.1.0", Commit: "def"},
		Settle: 10 * time.Second, Migrates: true,
		Files:  []Content{{Path: "/etc/systemd/system/bangerd.service", After: &text}},
		Guests: []Guest{{ID: "08cb489b65d3", Name: "dev", Process: proc.Identity{PID: 7, StartTime: 9, BootID: "b"}, BootID: "g", Exec: true}},
		VMs:    []string{"08cb489b65d3"},
		BootID: "b", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestTable(t *testing.T) {
	if len(Table) != 12 || Table[0].State != Prepared {
		t.Fatalf("%d states", len(Table))
	}
	for i, r := range Table {
		if r.Does == "" {
			t.Errorf("%s: nothing is said of it", r.State)
		}
		for _, next := range r.Next {
			if !next.Valid() || position(next) <= i && (r.State != RollingBack || next != Committing) {
				t.Errorf("%s leads to %q", r.State, next)
			}
		}
		if r.State.Ended() != (len(r.Next) == 0) {
			t.Errorf("%s: an end is where nothing follows", r.State)
		}
		// Up to the proof everything can be taken back; from then on nothing is.
		if got, want := r.State.MayMove(RollingBack), i <= position(Probing); got != want {
			t.Errorf("%s: may be rolled back: %v", r.State, got)
		}
	}
	if Prepared.MayMove(Switching) || Done.MayMove(RollingBack) || State("odd").MayMove(Done) {
		t.Error("a move is allowed that is not in the table")
	}
	if !Switching.Reached(Stopping) || Units.Reached(Stopping) || !Stopping.Reached(Stopping) {
		t.Error("Reached is wrong")
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	want := fullJournal()
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Read(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(link); err == nil {
		t.Error("a link was followed")
	}
}

func TestDamageIsReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	if err := fullJournal().Write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, damaged := range map[string]string{
		"empty":             "",
		"cut short":         text[:len(text)/2],
		"zeros":             strings.Repeat("\x00", 100),
		"two of them":       text + text,
		"another format":    strings.Replace(text, `"format": 1`, `"format": 2`, 1),
		"unknown state":     strings.Replace(text, "probing", "guessing", 1),
		"unknown field":     strings.Replace(text, `"format"`, `"extra": 1, "format"`, 1),
		"no way back":       strings.Replace(text, `"probing"`, `"rolling-back"`, 1),
		"a path as version": strings.Replace(text, "v1.1.0", "../v1.1.0", 1),
		"a relative path":   strings.Replace(text, "/etc/systemd", "etc/systemd", 1),
		"a path with dots":  strings.Replace(text, "/etc/systemd/", "/etc/../systemd/", 1),
		"no guest":          strings.Replace(text, `"pid": 7`, `"pid": 0`, 1),
		"nothing changes":   strings.Replace(text, "v1.1.0", "v1.0.0", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if damaged == text {
				t.Fatal("nothing was damaged")
			}
			if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			if j, err := Read(path); err == nil || !strings.Contains(err.Error(), path) || j.State != "" {
				t.Errorf("%+v, %v", j, err)
			}
		})
	}
}

func TestBackup(t *testing.T) {
	j := fullJournal()
	if j.Backup() != "v1.0.0" {
		t.Error(j.Backup())
	}
	if j.Migrates = false; j.Backup() != "" {
		t.Error(j.Backup())
	}
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := Parse(data)
		if err != nil {
			if j.State != "" {
				t.Error("something was made of a wrong journal")
			}
			return
		}
		path := filepath.Join(t.TempDir(), File)
		if err := j.Write(path); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if again, err := Read(path); err != nil || !cmp.Equal(again, j) {
			t.Errorf("%v\n%s", err, cmp.Diff(j, again))
		}
	})
}
