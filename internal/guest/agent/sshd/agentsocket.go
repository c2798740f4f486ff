package sshd

import (
	"net"
	"os"
	"path/filepath"
)

// agentSocket returns the path of a socket on which the guest's programs reach the client's ssh-agent
// (OpenSSH's PROTOCOL.agent). It is created at the first request; all sessions of the client share
// it.
func (s *server) agentSocket() (string, error) {
	s.agentMu.Lock()
	defer s.agentMu.Unlock()
	if s.agentDir != "" {
		return agentPath(s.agentDir), nil
	}
	dir, err := s.userDir()
	if err != nil {
		return "", err
	}
	l, err := s.bind(agentPath(dir))
	if err == nil {
		err = s.serveListener("agent", l, "auth-agent@openssh.com", func(net.Conn) []byte { return nil })
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	s.agentDir = dir
	return agentPath(dir), nil
}

func agentPath(dir string) string { return filepath.Join(dir, "agent") }

// userDir creates a directory that only the client's user may access.
func (s *server) userDir() (string, error) {
	// As in sshd(8), and not in TMPDIR: a socket's path has at most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("/tmp", "banger-ssh-")
	if os.IsNotExist(err) { // an image need not have /tmp
		dir, err = os.MkdirTemp("/run", "banger-ssh-")
	}
	if err != nil || s.user.Credential == nil {
		return dir, err
	}
	if err := os.Chown(dir, int(s.user.Credential.Uid), int(s.user.Credential.Gid)); err != nil {
		os.Remove(dir)
		return "", err
	}
	return dir, nil
}
