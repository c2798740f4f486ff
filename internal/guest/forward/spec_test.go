package forward

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/guest/stdio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"8080:80":                         "tcp 127.0.0.1:8080 tcp :80",
		"0:80":                            "tcp 127.0.0.1:0 tcp :80",
		"8080:80/tcp":                     "tcp 127.0.0.1:8080 tcp :80",
		"5353:53/udp":                     "udp 127.0.0.1:5353 udp :53",
		"127.0.0.2:8080:80":               "tcp 127.0.0.2:8080 tcp :80",
		"localhost:8080:80":               "tcp 127.0.0.1:8080 tcp :80",
		"0.0.0.0:8080:80":                 "tcp 0.0.0.0:8080 tcp :80",
		"[::1]:8080:80":                   "tcp [::1]:8080 tcp :80",
		"[::]:65535:1":                    "tcp [::]:65535 tcp :1",
		"8080:10.0.0.5:80":                "tcp 127.0.0.1:8080 tcp 10.0.0.5:80",
		"8080:[fe80::1]:80":               "tcp 127.0.0.1:8080 tcp [fe80::1]:80",
		"127.0.0.1:8080:db.local:5432":    "tcp 127.0.0.1:8080 tcp db.local:5432",
		"/tmp/x.sock:80":                  "unix /tmp/x.sock tcp :80",
		"./x.sock:db:80":                  "unix ./x.sock tcp db:80",
		"8080:/run/docker.sock":           "tcp 127.0.0.1:8080 unix /run/docker.sock",
		"../docker.sock:/run/docker.sock": "unix ../docker.sock unix /run/docker.sock",
		"[::1]:8080:/run/udp":             "tcp [::1]:8080 unix /run/udp",
		"":                                "error: write LISTEN:TARGET",
		":":                               `error: "" is neither a port nor an IP address`,
		"8080":                            "error: write LISTEN:TARGET",
		"8080:":                           `error: "" is not a port`,
		":80":                             `error: "" is neither a port nor an IP address`,
		"8080:80:90:100":                  "error: there are too many",
		"8080::80":                        "error: there are too many or empty parts",
		"8080:0":                          `error: "0" is not a port from 1 to 65535`,
		"65536:80":                        `error: "65536" is not a port from 0 to 65535`,
		"99999999999999999999:80":         `error: "99999999999999999999" is not a port`,
		"-1:80":                           `error: "-1" is neither a port nor an IP address`,
		"8080:+80":                        `error: "+80" is not a port`,
		"8080:http":                       `error: "http" is not a port`,
		"8080:80/sctp":                    `error: "sctp" is not tcp or udp`,
		"8080:80/":                        `error: "" is not tcp or udp`,
		"example.com:8080:80":             `error: "example.com" is neither a port nor an IP address`,
		"127.0.0.1:80":                    "error: write LISTEN:TARGET",
		"[::1]:8080":                      "error: write LISTEN:TARGET",
		"[::1]8080:80":                    "error: a port is missing",
		"[::1:8080:80":                    "error: […] is not an IPv6 address",
		"[127.0.0.1]:8080:80":             "error: […] is not an IPv6 address",
		"::1:8080:80":                     `error: "" is neither a port nor an IP address`,
		"./x.sock:53/udp":                 "error: a Unix socket has no /udp",
		"8080:a b:80":                     `error: "a b" is not a host name`,
		"8080:80\n":                       "error: it has characters that cannot be printed",
		"8080:\xff:80":                    "error: it has characters that cannot be printed",
		"8080:ex\u00e4mple:80":            "is not a host name",
		"8080:" + strings.Repeat("a", 300) + ":80": "error: the name of a host has 300 characters",
	} {
		s, err := Parse(text)
		got := s.Listen.Network + " " + s.Listen.Address + " " + s.To.Network + " " + s.To.Address
		if err != nil {
			if e := api.AsError(err); e.Kind != api.KindInvalid || e.Hint == "" {
				t.Errorf("%q: %+v", text, e)
			}
			_, got, _ = strings.Cut(err.Error(), `": `)
			got = "error: " + got
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: %s; want %s", text, got, want)
		}
	}
}

func TestParsePublished(t *testing.T) {
	for text, want := range map[string]string{
		"8080:80":           "127.0.0.1:8080:80",
		"0:80":              "127.0.0.1:0:80",
		"0.0.0.0:53:53/udp": "0.0.0.0:53:53/udp",
		"[::1]:8080:80":     "[::1]:8080:80",
		"80":                "error",
		"8080:db:80":        "error",
		"./x:80":            "error",
		"8080:/x":           "error",
		"[fe80::1%a]:1:2":   "error",
	} {
		p, err := ParsePublished(text)
		got := p.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, bad := range []api.PublishedPort{
		{}, {Address: "x", HostPort: 1, GuestPort: 1, Protocol: "tcp"}, {Address: "::1", HostPort: 1, GuestPort: 0, Protocol: "tcp"},
		{Address: "::1", HostPort: 1 << 16, GuestPort: 1, Protocol: "tcp"}, {Address: "::1", HostPort: 1, GuestPort: 1, Protocol: "unix"},
		{Address: "::1%lo", HostPort: 1, GuestPort: 1, Protocol: "tcp"},
	} {
		if s, err := Published(bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%+v: %v, %v", bad, s, err)
		}
	}
}

func TestOpen(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": false, "127.9.9.9:1": false, "[::1]:1": false, "[::ffff:127.0.0.1]:1": false,
		"0.0.0.0:1": true, "[::]:1": true, "192.0.2.1:1": true,
	} {
		if got := Open(stdio.Endpoint{Network: stdio.TCP, Address: address}); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if Open(stdio.Endpoint{Network: stdio.Unix, Address: "/x"}) {
		t.Error("a Unix socket is open")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"8080:80", "[::1]:8080:db:80/udp", "./a:/b", "127.0.0.1:0:1/tcp"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil {
			again, err := Parse(s.String())
			if err != nil || again != s {
				t.Errorf("%q is read as %+v, written as %q and read as %+v, %v", text, s, s, again, err)
			}
		}
		if p, err := ParsePublished(text); err == nil {
			again, err := ParsePublished(p.String())
			if _, bad := Published(p); err != nil || again != p || bad != nil {
				t.Errorf("%q is read as %+v and then %+v, %v, %v", text, p, again, err, bad)
			}
		}
	})
}
