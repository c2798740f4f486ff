package proc

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUsageOfThisProcess(t *testing.T) {
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	used, clock, err := p.CPUTime()
	if err != nil || used <= 0 || clock <= 0 {
		t.Fatal(used, clock, err)
	}
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; { // work
	}
	later, laterClock, err := p.CPUTime()
	if err != nil || later-used < 5*time.Millisecond || laterClock-clock < 50*time.Millisecond {
		t.Errorf("%s in %s, %v", later-used, laterClock-clock, err)
	}
	pss, err := p.PSS()
	if err != nil || pss < 1<<20 || pss > 1<<32 {
		t.Errorf("%d bytes, %v", pss, err)
	}
}

func TestSuspended(t *testing.T) {
	p := spawn(t, "kill -STOP $$; read x")
	for end := time.Now().Add(10 * time.Second); !p.Suspended(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not suspended")
		}
	}
	if err := p.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); p.Suspended(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is suspended for ever")
		}
	}
}

// TestUsageOfAProcessThatHasEnded: whoever has its pid since, it is not that process.
func TestUsageOfAProcessThatHasEnded(t *testing.T) {
	p := spawn(t, "exit 0")
	<-p.Done()
	if _, _, err := p.CPUTime(); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := p.PSS(); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestParsePSS(t *testing.T) {
	const good = "55d0c0000000-7ffd00000000 ---p 00000000 00:00 0   [rollup]\nRss:     884 kB\nPss:     385 kB\nPss_Dirty:  68 kB\n"
	if n, err := parsePSS([]byte(good)); n != 385<<10 || err != nil {
		t.Error(n, err)
	}
	for _, bad := range []string{"", "Rss: 1 kB\n", "Pss:\n", "Pss: x kB\n", "Pss: -1 kB\n", "Pss: 99999999999999999 kB\n"} {
		if n, err := parsePSS([]byte(bad)); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
