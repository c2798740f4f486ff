package agent

import (
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"banger/internal/guest"
	"banger/internal/guest/agent/sshd"
)

// ssh connects a client of SSH.
func (r *rig) ssh(dial guest.Dial) *ssh.Client {
	r.t.Helper()
	s, err := (&guest.Client{Dial: dial}).SSH(r.t.Context(), make([]byte, ed25519.SeedSize))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close() })
	conn := sshd.Conn(io.NopCloser(s.Stdout), s.Stdin)
	c, channels, requests, err := ssh.NewClientConn(conn, "", &ssh.ClientConfig{User: "root", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		r.t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	r.t.Cleanup(func() { client.Close() })
	return client
}

// outlives is a command that leaves a job in the background, which writes to its output
// when it has ended long ago, and then makes a file.
func outlives(t *testing.T) (script, file string) {
	t.Parallel()
	file = filepath.Join(t.TempDir(), "survived")
	return "trap '' HUP; (sleep 1.3; echo late; echo late; > " + file + ") & echo now; exit 3", file
}

// made waits for a file.
func made(t *testing.T, file string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the job in the background did not survive")
		}
	}
}

// TestCommandDoesNotWaitForItsBackground: nor does what it left there die with it.
func TestCommandDoesNotWaitForItsBackground(t *testing.T) {
	script, file := outlives(t)
	r := newRig(t, limits{9, time.Hour, time.Hour})
	s := r.exec(r.link().Open, "sh", "-c", script)
	if out, err := io.ReadAll(s.Stdout); string(out) != "now\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if exit, err := s.Wait(t.Context()); err != nil || exit.Code != 3 {
		t.Errorf("%+v, %v", exit, err)
	}
	made(t, file)
}

// TestSSHWaitsForItsBackground: as with OpenSSH's server, where there is no terminal.
func TestSSHWaitsForItsBackground(t *testing.T) {
	script, file := outlives(t)
	r := newRig(t, limits{9, time.Hour, time.Hour})
	s, err := r.ssh(r.link().Open).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Output(script)
	var exit *ssh.ExitError
	if string(out) != "now\nlate\nlate\n" || !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("%q, %v", out, err)
	}
	made(t, file)
}

// TestSSHThatLeavesItsBackground: the job survives, and the session does not.
func TestSSHThatLeavesItsBackground(t *testing.T) {
	script, file := outlives(t)
	r := newRig(t, limits{9, time.Hour, time.Hour})
	client := r.ssh(r.link().Open)
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(script); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("now\n"))); err != nil {
		t.Fatal(err)
	}
	client.Close()
	r.sessionsLeft(0)
	made(t, file)
}

// TestAgentEndsUnderAJobThatWritesForEver: and with it what it held open for the job.
func TestAgentEndsUnderAJobThatWritesForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t, limits{9, time.Hour, time.Hour})
	s := r.exec(r.link().Open, "sh", "-c", "yes 2>/dev/null & exit 3")
	go io.Copy(io.Discard, s.Stdout)
	if exit, err := s.Wait(t.Context()); err != nil || exit.Code != 3 {
		t.Errorf("%+v, %v", exit, err)
	}
	r.s.close() // returns; package process tests what is held open
}
