package giturl

import "testing"

// TestPublic: credentials are left out, and what another host cannot use is refused.
func TestPublic(t *testing.T) {
	for text, want := range map[string]string{
		"https://user:token@h/x": "https://h/x", "https://token@h/x": "https://h/x", "ssh://git:pw@h:22/x": "ssh://git@h:22/x", "git@h.example:x/y": "git@h.example:x/y",
		"user:token@h:x": "", "file:///x": "", "../x": "", "ext::sh -c x": "", "https://h/x?private_token=t": "https://h/x", "git://h/x": "git://h/x",
		"": "", "C:/x": "", "/x": "", "./a:b": "", "x y@host:z": "", "host:": "", "javascript://x": "", "https://": "", "https:///x": "", "http://%zz/": "",
		"host.example:x": "host.example:x", "[2001:db8:0:0:0:0:0:1]:x": "[2001:db8:0:0:0:0:0:1]:x", "HTTPS://a:b@h/x#f": "https://h/x", "ssh://h/~u/x": "ssh://h/~u/x",
		"ssh://[::1]/x": "ssh://[::1]/x", "[2001:db8::1]:x": "[2001:db8::1]:x", "ext::https://h/x": "", "::x": "",
	} {
		if got := Public(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
