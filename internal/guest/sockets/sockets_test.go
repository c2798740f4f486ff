package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tables of a small machine: sshd on all of IPv4 and IPv6, a resolver on the
// loopback, and a connection that is none that listens.
const (
	tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0016 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 20 4 30 10 -1
   2: bad
`
	tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 102 1 0000000000000000 100 0 0 10 0
`
	udpTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   55: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 103 2 0000000000000000 0
`
)

func fakeTable(t *testing.T) Table {
	root := t.TempDir()
	for name, text := range map[string]string{
		"self/net/tcp": tcpTable, "self/net/tcp6": tcp6Table, "self/net/udp": udpTable,
		"7/comm": "sshd\n", "9/comm": "evil\x1bname\n", "10/comm": "late\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for fd, target := range map[string]string{"7/fd/3": "socket:[100]", "7/fd/1": "/dev/null", "9/fd/4": "socket:[102]", "10/fd/3": "socket:[100]"} {
		path := filepath.Join(root, fd)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	return Table{root}
}

func TestListening(t *testing.T) {
	found, err := fakeTable(t).Listening()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range found {
		got = append(got, fmt.Sprintf("%s %s uid %d: %d %q", s.Protocol, s.Address, s.UID, s.PID, s.Process))
	}
	want := []string{
		`tcp 0.0.0.0:22 uid 0: 7 "sshd"`, `tcp [::1]:8080 uid 1000: 9 "evil\x1bname"`, `udp 127.0.0.53:53 uid 101: 0 ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHolder(t *testing.T) {
	table := fakeTable(t)
	for ask, want := range map[string]string{
		"tcp 127.0.0.1:22":  "sshd",
		"tcp 0.0.0.0:22":    "sshd",
		"tcp [::]:22":       "sshd",
		"tcp [::1]:22":      "nobody",
		"tcp 127.0.0.1:23":  "nobody",
		"tcp [::]:8080":     "evil\x1bname",
		"udp 0.0.0.0:53":    "",
		"udp 127.0.0.1:53":  "nobody",
		"udp 127.0.0.53:53": "",
	} {
		protocol, address, _ := strings.Cut(ask, " ")
		s, found := table.Holder(protocol, netip.MustParseAddrPort(address))
		got := s.Process
		if !found {
			got = "nobody"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", ask, got, want)
		}
	}
}

// TestThisMachine finds this process.
func TestThisMachine(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, found := Host.Holder("tcp", netip.MustParseAddrPort(l.Addr().String()))
	if !found || s.PID != os.Getpid() || s.Process != "sockets.test" || s.UID != os.Getuid() {
		t.Errorf("%+v, %v", s, found)
	}
}

func FuzzTable(f *testing.F) {
	f.Add(tcpTable)
	f.Add(tcp6Table)
	f.Fuzz(func(t *testing.T, text string) {
		for _, protocol := range []string{"tcp", "udp"} {
			all, _ := parse(strings.NewReader(text), protocol)
			for _, s := range all {
				if !s.Address.IsValid() {
					t.Errorf("%+v", s)
				}
			}
		}
	})
}

// TestManyDescriptors: any user may have a million of them.
func TestManyDescriptors(t *testing.T) {
	table := fakeTable(t)
	for i := range 1000 {
		if err := os.Symlink("socket:[1]", filepath.Join(table.Root, "7/fd", strconv.Itoa(100+i))); err != nil {
			t.Fatal(err)
		}
	}
	for most, want := range map[int]int{1: 1, 300: 300, maxLinks: 1002} {
		if looked := table.nameOf(7, map[string][]*Socket{"": nil}, most); looked != want {
			t.Errorf("looked at %d of %d, want %d", looked, most, want)
		}
	}
	if looked := table.nameOf(9, map[string][]*Socket{"102": nil}, maxLinks); looked != 1 {
		t.Errorf("looked at %d after all were found", looked)
	}
}
