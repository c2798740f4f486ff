package console

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLastLines(t *testing.T) {
	for _, test := range []struct {
		data string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 1, "c"}, {"a", 5, "a"}, {"", 3, ""}, {"a\nb", 0, ""}, {"\n\n\n", 1, "\n"},
	} {
		if got := string(lastLines([]byte(test.data), test.n)); got != test.want {
			t.Errorf("%q, %d lines: %q, want %q", test.data, test.n, got, test.want)
		}
	}
}

func TestTrimKeepsTheEndAndOffsets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	data := bytes.Repeat([]byte("0123456\n"), 64<<10) // 512 KiB
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := trim(path, 256<<10, 64<<10); err != nil {
		t.Fatal(err)
	}
	got, err := Tail(path, 1<<20)
	if err != nil || !bytes.HasSuffix(data, got) || len(got) < 64<<10 || len(got) > 72<<10 {
		t.Errorf("%d bytes are left, %v", len(got), err)
	}
	if err := trim(filepath.Join(t.TempDir(), "absent"), Max, Keep); err != nil {
		t.Errorf("absent: %v", err)
	}
}

func TestFollowShowsWhatComesAndEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, path, 0, &out) }()
	for _, line := range []string{"one\n", "two\n", "three\n"} {
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestWatcherTrims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := newWatcher(slog.New(slog.DiscardHandler), 64<<10, 16<<10, 5*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	looks := make(chan struct{}, 1)
	stop := w.Watch(path, func() {
		select {
		case looks <- struct{}{}:
		default:
		}
	})
	defer stop()
	<-looks // the first look is Watch's own
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, err := Tail(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > 0 && len(got) <= 20<<10 {
			<-looks
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are left", len(got))
		}
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;title\x07\r\n\u202e\u009b1m\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Sanitize(s) {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q has %q left", s, r)
			}
		}
	})
}
