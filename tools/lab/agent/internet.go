package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// The lab has no connection to the outside. Its "internet" is a namespace behind the
// interface wan0, with addresses of RFC 5737 and that of clouds' metadata services. It
// has no route to the lab's own guests: packets that reach it have the lab's address.
const (
	labAddress  = "203.0.113.2/24"
	gateway     = "203.0.113.1"
	resolver    = "203.0.113.53"
	server      = "198.51.100.80"
	metadata    = "169.254.169.254"
	networkName = "internet"
)

// links makes the namespace, its links, and the route to it.
func links(ctx context.Context) error {
	return errors.Join(
		batch(ctx, nil,
			"netns add "+networkName,
			"link add wan0 type veth peer name eth0 netns "+networkName,
			"address add "+labAddress+" dev wan0",
			"link set wan0 up"),
		batch(ctx, []string{"-n", networkName},
			"link set lo up",
			"link set eth0 up",
			"address add "+gateway+"/24 dev eth0",
			"address add "+resolver+"/32 dev eth0",
			"address add "+server+"/32 dev lo",
			"address add "+metadata+"/32 dev lo"),
		batch(ctx, nil, "route add default via "+gateway),
	)
}

// batch runs commands of ip(8) in one process: each costs time under emulation.
func batch(ctx context.Context, options []string, commands ...string) error {
	cmd := exec.CommandContext(ctx, "ip", append(options, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(commands, "; "), err, out)
	}
	return nil
}

// internet serves HTTP on every address and DNS on the resolver's, until ctx ends.
func internet(ctx context.Context) error {
	pages, err := net.Listen("tcp4", ":80")
	if err != nil {
		return err
	}
	names, err := net.ListenPacket("udp4", resolver+":53")
	if err != nil {
		return err
	}
	if err := notify("READY=1"); err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(pages, http.HandlerFunc(answer)) }()
	go func() { failed <- serveNames(names) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	pages.Close()
	names.Close()
	return err
}

// answer reports which address was requested, and by which client.
func answer(w http.ResponseWriter, r *http.Request) {
	here := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	host, _, _ := net.SplitHostPort(here.String())
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintf(w, "internet %s saw %s\n", host, peer)
}

// serveNames answers every DNS query for an address (RFC 1035) with the server's.
func serveNames(c net.PacketConn) error {
	buf := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if reply := nameReply(buf[:n]); reply != nil {
			_, _ = c.WriteTo(reply, from) // the client asks again
		}
	}
}

// nameReply returns the answer to a query with one question, nil for anything else.
func nameReply(query []byte) []byte {
	const header = 12
	if len(query) < header || query[2]&0x80 != 0 || query[5] != 1 {
		return nil
	}
	end := header
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	isAddress := query[end-4] == 0 && query[end-3] == 1
	reply := append([]byte{}, query[:end]...)
	reply[2], reply[3] = 0x81, 0x80 // a response, recursion desired and available
	copy(reply[6:header], make([]byte, 6))
	if isAddress {
		reply[7] = 1
		reply = append(reply, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // the question's name, A, IN, a minute
		reply = append(reply, net.ParseIP(server).To4()...)
	}
	return reply
}

// notify reports the service's state to systemd (sd_notify(3)).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
