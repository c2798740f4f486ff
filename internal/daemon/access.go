package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
)

// peer is the process at the other end of a connection, as reported by the kernel.
type peer struct {
	uid int
	pid int
	err error // the kernel did not report it
}

// access reports whether a peer may use a route of a daemon that runs as self.
type access func(p peer, self int) bool

// owner admits the user whose daemon this is, and root, who could take the
// user's identity anyway.
func owner(p peer, self int) bool {
	return p.err == nil && (p.uid == self || p.uid == 0)
}

type peerKey struct{}

// withPeer attaches the peer's identity to every request of a connection. It
// is asked for once: the credentials of a Unix socket are those at the time of
// connect(2) (unix(7), SO_PEERCRED).
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(c))
}

func peerOf(c net.Conn) peer {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return peer{err: errors.New("not a Unix socket")}
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{err: err}
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return peer{err: err}
	}
	return peer{uid: int(cred.Uid), pid: int(cred.Pid)}
}

func checkPeer(r *http.Request, allowed access) error {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		p.err = errors.New("no peer credentials")
	}
	if allowed(p, os.Getuid()) {
		return nil
	}
	if p.err != nil {
		return api.Errorf(api.KindDenied, "cannot tell who is calling: %w", p.err)
	}
	return api.Errorf(api.KindDenied, "user %d may not use the daemon of user %d", p.uid, os.Getuid()).
		WithHint("every user has a daemon of their own: run banger as yourself")
}

// hosts are the names by which a client may address the daemon. A web page that found a
// way to the socket, by a proxy or by DNS rebinding, sends another.
var hosts = map[string]bool{"": true, "banger": true, "bangerd": true, "localhost": true}

// checkShape refuses requests that look as though a browser sent them: banger's clients do not set
// these headers (Fetch standard: a browser sets them itself and a page cannot remove them).
func checkShape(r *http.Request) error {
	for name := range r.Header {
		if name == "Origin" || name == "Referer" || strings.HasPrefix(name, "Sec-Fetch-") {
			return api.Errorf(api.KindDenied, "refused: the request has a header %s, as a browser sends it", name)
		}
	}
	if !hosts[r.Host] {
		return api.Errorf(api.KindDenied, "refused: %q is not a name of this daemon", r.Host).
			WithHint("use the host name localhost")
	}
	return nil
}
