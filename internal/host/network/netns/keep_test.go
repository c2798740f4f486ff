//go:build linux

package netns

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/host/network"
	"banger/internal/host/rootexec"
)

// reports is a log that a test waits for.
type reports chan string

func (r reports) Enabled(context.Context, slog.Level) bool { return true }

func (r reports) Handle(_ context.Context, record slog.Record) error {
	why := ""
	record.Attrs(func(a slog.Attr) bool { why += " " + a.Value.String(); return true })
	r <- record.Message + ":" + why
	return nil
}
func (r reports) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r reports) WithGroup(string) slog.Handler      { return r }

func (r reports) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-r:
		if got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Errorf("it does not say %q", want)
	}
}

// ownEtc hides the machine's /etc from the tests, whose mounts are their own.
func ownEtc(t *testing.T) {
	t.Helper()
	if err := unix.Mount("tmpfs", "/etc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount("/etc"); err != nil {
			t.Error(err)
		}
	})
}

// setResolver replaces resolv.conf as its writers do.
func setResolver(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile("/etc/resolv.conf.new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename("/etc/resolv.conf.new", "/etc/resolv.conf"); err != nil {
		t.Fatal(err)
	}
}

const again = "the firewall's table was loaded again: "

// keep begins to keep the table until the test ends.
func keep(t *testing.T, first, longest time.Duration) (*Keeper, reports) {
	t.Helper()
	said := make(reports, 100)
	k := keepTable(context.Background(), network.DefaultOuter, slog.New(said), first, longest)
	t.Cleanup(func() {
		k.Close() // first: it would load the table again
		if err := RemoveTable(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return k, said
}

// soon is a pause of a Keeper, and calm long enough for it to have looked at what
// itself changed: what is seen then was told by the kernel.
const (
	soon = 5 * time.Millisecond
	calm = 150 * time.Millisecond
)

// mustBeWhole checks that the table is as banger makes it.
func mustBeWhole(t *testing.T, k *Keeper, after string) {
	t.Helper()
	table, err := k.Table()
	if err != nil {
		t.Errorf("after %q: %v", after, err)
	}
	if got := checkTable(context.Background(), table, err); got.Status != statusOK {
		t.Errorf("after %q: %+v", after, got)
	}
}

func TestKeepTable(t *testing.T) {
	needsRoot(t)
	ownEtc(t)
	setResolver(t, "nameserver 192.0.2.53\n")
	k, said := keep(t, soon, soon)
	if err := k.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	for change, why := range map[string]string{
		"flush ruleset":                      "it was removed",
		"delete table inet banger":           "it was removed",
		"flush ruleset; add table inet mine": "it was removed",
		"add table inet o; delete table inet banger; delete table inet o": "it was removed",
		"flush table inet banger":                         "it was changed",
		"flush chain inet banger forward":                 "it was changed",
		"insert rule inet banger guard accept":            "it was changed",
		"add rule inet banger postrouting counter":        "it was changed",
		"add chain inet banger mine":                      "it was changed",
		"add chain inet banger forward { policy drop; }":  "it was changed",
		"add set inet banger mine { type ipv4_addr; }":    "it was changed",
		"add counter inet banger mine":                    "it was changed",
		"add table inet banger { flags dormant; }":        "it was changed",
		"delete table inet banger; add table inet banger": "it was changed",
	} {
		time.Sleep(calm)
		runNft(t, change)
		said.expect(t, again+why)
		mustBeWhole(t, k, change)
	}
	time.Sleep(calm)
	deleteRule(t)
	said.expect(t, again+"it was changed")
	mustBeWhole(t, k, "one rule was deleted")

	time.Sleep(calm)
	setResolver(t, "nameserver 192.0.2.54\n")
	said.expect(t, again+"the host's resolver changed")
	if got, err := k.Table(); got.Resolver != netip.MustParseAddr("192.0.2.54") || err != nil {
		t.Error(got, err)
	}

	// None of these is a reason; the last one shows that they were seen.
	runNft(t, "add table ip banger; delete table ip banger")
	runNft(t, "add table inet mine; flush table inet mine; delete table inet mine")
	table, _ := k.Table()
	if err := EnsureTable(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	setResolver(t, "search example.org\nnameserver 192.0.2.54\n")
	time.Sleep(calm)
	runNft(t, "delete table inet banger")
	said.expect(t, again+"it was removed")
	k.Close()
	runNft(t, "delete table inet banger")
	select {
	case got := <-said:
		t.Errorf("it says %q", got)
	default:
	}
}

// deleteRule deletes the first rule of a chain, by its handle.
func deleteRule(t *testing.T) {
	t.Helper()
	out, err := exec.Command("nft", "--handle", "list", "chain", "inet", "banger", "input").CombinedOutput()
	if err != nil {
		t.Fatal(string(out), err)
	}
	handle := regexp.MustCompile(`accept # handle (\d+)`).FindStringSubmatch(string(out))
	if handle == nil {
		t.Fatal(string(out))
	}
	runNft(t, "delete rule inet banger input handle "+handle[1])
}

// replaceNft puts a script in nft's place until restore is called, and returns where
// nft itself is meanwhile. The tests' mounts are their own.
func replaceNft(t *testing.T, script string) (real string, restore func()) {
	t.Helper()
	path := must(rootexec.Find("nft", rootexec.SystemDirs))
	real = "/run/nft"
	if err := os.WriteFile(real, must(os.ReadFile(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/run/script", []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/run/script", path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	restore = sync.OnceFunc(func() {
		if err := unmount(path); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(restore)
	return real, restore
}

// change runs nft where it is.
func change(t *testing.T, nft, text string) {
	t.Helper()
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

// TestTheTableIsLoadedOnceItCanBe: a failure is no end of it.
func TestTheTableIsLoadedOnceItCanBe(t *testing.T) {
	needsRoot(t)
	k, said := keep(t, firstPause, longestPause)
	if err := k.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * firstPause) // it looks at what itself changed
	nft, restore := replaceNft(t, "echo not today >&2; exit 1\n")
	change(t, nft, "delete table inet banger")
	const failed = "cannot load the firewall's table: /usr/sbin/nft failed (exit status 1):\n  not today"
	said.expect(t, "cannot load the firewall's table: retrying until it works: it was removed "+failed)
	if _, err := k.Table(); err == nil || err.Error() != failed {
		t.Error(err)
	}
	if err := k.Ensure(context.Background()); err == nil {
		t.Error("a VM gets a network without the table")
	}
	time.Sleep(5 * firstPause) // the same failure is not said again
	restore()
	said.expect(t, again+"it was removed")
	mustBeWhole(t, k, "it failed")
	if err := k.Ensure(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestTheTableIsLoadedThoughTheFirstTimeFails: guests may run already.
func TestTheTableIsLoadedThoughTheFirstTimeFails(t *testing.T) {
	needsRoot(t)
	_, restore := replaceNft(t, "exit 1\n")
	k, _ := keep(t, firstPause, longestPause)
	if err := k.Ensure(context.Background()); err == nil {
		t.Error("it succeeded")
	}
	restore()
	for end := time.Now().Add(patience); ; time.Sleep(firstPause) {
		if _, err := listTable(context.Background()); err == nil {
			return
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestTheKeeperIsNotKeptBusy counts how often it runs nft.
func TestTheKeeperIsNotKeptBusy(t *testing.T) {
	needsRoot(t)
	const counted = "/run/calls"
	nft, _ := replaceNft(t, "echo >>"+counted+"; exec /run/nft \"$@\"\n")
	k, _ := keep(t, firstPause, longestPause)
	if err := k.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	during := func(text string) (changes, calls int) {
		time.Sleep(5 * firstPause) // it looks at what itself changed
		read := func() int { return len(must(os.ReadFile(counted))) }
		before := read()
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); changes++ {
			change(t, nft, text)
		}
		return changes, read() - before
	}
	if changes, calls := during("add table inet mine; add chain inet mine c; add rule inet mine c accept; delete table inet mine"); calls != 0 {
		t.Errorf("%d changes of another table make it run nft %d times", changes, calls)
	}
	// It looks six times, as its pauses grow, and each time it lists, compares or loads.
	if changes, calls := during("add chain inet banger mine; delete chain inet banger mine"); calls == 0 || calls > 16 {
		t.Errorf("%d changes of the table make it run nft %d times", changes, calls)
	}
	time.Sleep(longestPause + 5*firstPause)
	mustBeWhole(t, k, "many changes")
}

// TestMoreChangesThanTheSocketHolds: what cannot be told in full concerns the table,
// though nothing that was told does.
func TestMoreChangesThanTheSocketHolds(t *testing.T) {
	needsRoot(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	k := &Keeper{changed: make(chan struct{}, 1)}
	small := func() (io.ReadCloser, error) {
		rules, err := followRules()
		if err != nil {
			return nil, err
		}
		return rules, unix.SetsockoptInt(int(rules.Fd()), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the least that there is
	}
	ended := make(chan error, 1)
	slow := func([]byte) bool { time.Sleep(time.Millisecond); return false } // slower than the kernel tells
	go func() { ended <- k.read(ctx, source{open: small, concerns: slow}) }()
	<-k.changed // it begins with a look
	runNft(t, "add table inet mine\nadd chain inet mine c\n"+strings.Repeat("add rule inet mine c counter\n", 20000))
	select {
	case <-k.changed:
	case err := <-ended:
		t.Fatal("it ended: ", err)
	case <-time.After(patience):
		t.Error("it does not say so")
	}
	cancel()
	<-ended
	runNft(t, "delete table inet mine")
}

func FuzzTouches(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, messages []byte) { touches(messages) })
}
