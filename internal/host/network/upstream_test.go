package network

import (
	"net/netip"
	"os"
	"testing"
)

func TestUpstream(t *testing.T) {
	for name, test := range map[string]struct{ etc, resolved, want string }{
		"plain":            {etc: "# made by hand\nsearch example.org\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n", want: "192.0.2.53"},
		"IPv6 first":       {etc: "nameserver fe80::1%eth0\nnameserver 2001:db8::53\nnameserver\t192.0.2.53 # x\n", want: "192.0.2.53"},
		"systemd-resolved": {etc: "nameserver 127.0.0.53\noptions edns0 trust-ad\n", resolved: "nameserver 192.0.2.1\n", want: "192.0.2.1"},
		"its cloud's":      {etc: "nameserver 127.0.0.53\n", resolved: "nameserver 169.254.169.253\n", want: "169.254.169.253"},
		"banger's own":     {etc: "nameserver 169.254.213.53\nnameserver 192.0.2.1\n", want: "192.0.2.1"},
		"dnsmasq":          {etc: "nameserver 127.0.0.1\n"},
		"only IPv6":        {etc: "nameserver 2001:db8::53\n"},
		"only systemd's":   {resolved: "nameserver 192.0.2.1\n", want: "192.0.2.1"},
		"nonsense":         {etc: "nameserver\nnameserver 300.1.1.1\nnameserver 0.0.0.0\n;nameserver 192.0.2.1\nNAMESERVER 192.0.2.1"},
		"no file":          {},
	} {
		t.Run(name, func(t *testing.T) {
			got := Upstream(func(path string) ([]byte, error) {
				text := map[string]string{resolvConf: test.etc, resolvedConf: test.resolved}[path]
				if text == "" {
					return nil, os.ErrNotExist
				}
				return []byte(text), nil
			})
			var want netip.Addr
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			if got != want {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

func FuzzNameserver(f *testing.F) {
	f.Add("nameserver 192.0.2.53\n")
	f.Fuzz(func(t *testing.T, text string) {
		if a := nameserver(text); a.IsValid() && (!a.Is4() || a.IsLoopback()) {
			t.Errorf("%q gives %v", text, a)
		}
	})
}
