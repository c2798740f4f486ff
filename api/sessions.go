package api

import "time"

// SessionState says whether somebody is at the other end of a session.
type SessionState string

// The states of a session.
const (
	SessionAttached SessionState = "attached" // its client is there
	SessionWaiting  SessionState = "waiting"  // its client is away, and may come back
	SessionDetached SessionState = "detached" // it goes on without a client
	SessionEnded    SessionState = "ended"    // the command has ended; its last output and status wait for a client
)

// Session is something that runs in a guest for a client.
type Session struct {
	ID      string       `json:"id"`      // at least 8 hexadecimal digits
	Kind    string       `json:"kind"`    // exec, shell, copy, ssh, forward
	Command string       `json:"command"` // shortened; what is copied, or where a forward leads
	TTY     bool         `json:"tty,omitempty"`
	State   SessionState `json:"state"`
	// Kept says that it goes on when its client leaves.
	Kept      bool      `json:"kept,omitempty"`
	PID       int       `json:"pid,omitempty"` // of the command, in the guest
	StartedAt time.Time `json:"started_at"`
	BytesIn   int64     `json:"bytes_in"`  // from the client
	BytesOut  int64     `json:"bytes_out"` // to the client
	// ExitCode is there once the command has ended.
	ExitCode *int `json:"exit_code,omitempty"`
}

// SessionList answers GET /v1/vms/{vm}/sessions, oldest first.
type SessionList struct {
	Sessions []Session `json:"sessions"`
}
