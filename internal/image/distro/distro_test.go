package distro

import (
	"testing"

	"banger/internal/image/rootfs"
)

func TestRelease(t *testing.T) {
	r := parseRelease("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n")
	for name, want := range map[string]string{
		"debian": "debian", "debian-12": "debian", "bookworm": "debian", "debian:bookworm": "debian", "debian-11": "debian-11", "": "",
	} {
		if got := r.Canonical(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if got := (Release{ID: "ubuntu"}).Image(); got != "ubuntu" {
		t.Errorf("on Ubuntu: %s", got)
	}
	if got := (Release{ID: "fedora"}).Canonical(""); got != "" {
		t.Errorf("without a codename, no name is %q", got)
	}
}

func TestStages(t *testing.T) {
	var got []int64
	s := &stages{emit: func(v any) { got = append(got, v.(rootfs.Event).Progress.Done) }}
	for _, line := range []string{
		"I: running apt-get update...", "I: installing remaining packages inside the chroot...",
		"0 upgraded, 1 newly installed, 0 to remove", "Unpacking git", "Setting up git", "Setting up git",
		"I: cleaning package lists and apt cache...",
	} {
		s.line(line)
	}
	for i := 1; i < len(got); i++ {
		if got[i] < got[i-1] {
			t.Errorf("progress goes back: %v", got)
		}
	}
	if len(got) != 5 || got[4] != 85 {
		t.Errorf("got %v", got)
	}
}
