//go:build linux

package netns

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/network"
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

func TestKeepTable(t *testing.T) {
	needsRoot(t)
	ownEtc(t)
	setResolver(t, "nameserver 192.0.2.53\n")
	said := make(reports, 100)
	k, err := KeepTable(context.Background(), network.DefaultOuter, slog.New(said))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close() // first: it would load the table again
		if err := RemoveTable(context.Background()); err != nil {
			t.Error(err)
		}
	})

	const again = "the firewall's table was loaded again: "
	for _, removal := range []string{
		"flush ruleset",
		"delete table inet banger",
		"flush ruleset; add table inet mine",
		"add table inet other; delete table inet banger; delete table inet other",
	} {
		nft(t, removal)
		said.expect(t, again+"it was removed")
		if rules := must(hostRules(context.Background())); !rules.HasTable() {
			t.Errorf("after %q the table is missing", removal)
		}
	}

	setResolver(t, "nameserver 192.0.2.54\n")
	said.expect(t, again+"the host's resolver is another")
	if got := k.Table().Resolver; got != netip.MustParseAddr("192.0.2.54") {
		t.Error(got)
	}

	// None of these is a reason; the last one shows that they were seen.
	nft(t, "add table ip banger; delete table ip banger")
	nft(t, "flush table inet mine; delete table inet mine")
	if err := EnsureTable(context.Background(), k.Table()); err != nil {
		t.Fatal(err)
	}
	setResolver(t, "search example.org\nnameserver 192.0.2.54\n")
	nft(t, "delete table inet banger")
	said.expect(t, again+"it was removed")
	k.Close()
	nft(t, "delete table inet banger")
	select {
	case got := <-said:
		t.Errorf("it says %q", got)
	default:
	}
}

func FuzzTransaction(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, messages []byte) {
		var seen transaction
		seen.removes(messages)
	})
}
