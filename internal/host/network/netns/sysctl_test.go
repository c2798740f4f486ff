//go:build linux

package netns

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"banger/internal/host/network"
)

func TestForwardingIsRemembered(t *testing.T) {
	needsRoot(t)
	if err := SetForwarding(false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true} {
		if previous, err := EnsureForwarding(); err != nil || previous != want {
			t.Error(previous, err)
		}
	}
	if err := SetForwarding(false); err != nil {
		t.Error(err)
	}
	if on, err := Forwarding(); on || err != nil {
		t.Error(on, err)
	}
}

// TestSysctlsOfTheLinks reads back what holds for the two ends.
func TestSysctlsOfTheLinks(t *testing.T) {
	needsRoot(t)
	m, p := newManager(t, 0), plan(t, 7)
	attach(t, m, p)
	check(t, linkSysctls(p.Link))
	ns, err := os.Open(m.path(p.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = in(ns, func() error {
		check(t, spaceSysctls)
		check(t, []setting{
			{"ipv4/conf/" + network.Uplink + "/rp_filter", "1"}, {"ipv6/conf/" + network.Uplink + "/disable_ipv6", "1"},
			// Both this and the one for all links must be 1 for a redirect to be accepted.
			{"ipv4/conf/" + network.Uplink + "/accept_redirects", "0"}, {"ipv4/conf/" + network.Tap + "/accept_redirects", "0"},
			{"ipv4/conf/" + network.Tap + "/rp_filter", "1"}, {"ipv6/conf/" + network.Tap + "/disable_ipv6", "1"},
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func check(t *testing.T, all []setting) {
	t.Helper()
	for _, s := range all {
		got, err := os.ReadFile(filepath.Join(sysctls, s.name))
		if err != nil || string(bytes.TrimSpace(got)) != s.value {
			t.Errorf("%s is %q (%v), want %s", s.name, got, err, s.value)
		}
	}
}
