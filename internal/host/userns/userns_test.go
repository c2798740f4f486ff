package userns

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"banger/api"
)

func TestMain(m *testing.M) {
	Main(map[string]Job{
		"own": func(_ context.Context, args []string, emit func(any)) error {
			emit(os.Getpid())
			if err := os.WriteFile(args[0], nil, 0o600); err != nil {
				return err
			}
			return os.Chown(args[0], 1234, 5678)
		},
		"hang": func(_ context.Context, _ []string, emit func(any)) error { emit("here"); select {} },
		"fail": func(context.Context, []string, func(any)) error {
			return api.Errorf(api.KindNoSpace, "full: %w", syscall.ENOSPC).WithHint("make room")
		},
		"remove": func(_ context.Context, args []string, _ func(any)) error { return os.Remove(args[0]) },
	})
	goleak.VerifyTestMain(m)
}

func TestRun(t *testing.T) {
	ctx, file := context.Background(), filepath.Join(t.TempDir(), "f")
	var pid int
	err := Run(ctx, Call{Job: "own", Args: []string{file}, Event: func(data json.RawMessage) { _ = json.Unmarshal(data, &pid) }})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid == os.Getuid() || pid != 1 {
		t.Errorf("the file belongs to %d; the job had pid %d, want 1", uid, pid)
	}
	if err := Run(ctx, Call{Job: "remove", Args: []string{file}}); err != nil {
		t.Error(err)
	}
	err = Run(ctx, Call{Job: "fail"})
	if e := api.AsError(err); e == nil || e.Kind != api.KindNoSpace || e.Hint != "make room" {
		t.Errorf("got %v", err)
	}
	if err := Run(ctx, Call{Job: "no-such"}); err == nil {
		t.Error("a job that does not exist has run")
	}
	if err := Check(ctx); err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	err := Run(ctx, Call{Job: "hang", Event: func(json.RawMessage) { cancel() }})
	if api.KindOf(err) != api.KindCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestParseRanges(t *testing.T) {
	for text, want := range map[string]idRange{
		"":                              {},
		"me:100000:65536\n":             {100000, 65536},
		"1000:5:70000\nme:100000:65536": {5, 70000},
		"you:100000:65536\n":            {},
		"me:100000:10\n":                {100000, 10}, // too few
		"me:x:y\nme:1\n#\nme:0:65536\n": {},
		"me:4294967295:65536\n":         {},
	} {
		got, ok := parseRanges(strings.NewReader(text), []string{"1000", "me"})
		if got != want || ok != (want.count >= leastIDs) {
			t.Errorf("%q: %v %v, want %v", text, got, ok, want)
		}
	}
}

// TestMissingTool: root needs no tool; an ordinary user is told what to install.
func TestMissingTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Check(context.Background())
	if os.Getuid() == 0 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if e := api.AsError(err); e == nil || e.Kind != api.KindUnsupported || e.Hint != "sudo apt-get install uidmap" {
		t.Errorf("got %+v", e)
	}
}
