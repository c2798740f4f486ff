package api

import "time"

// SessionState is the state of a session's client.
type SessionState string

// The states of a session.
const (
	SessionAttached SessionState = "attached" // its client is connected
	SessionWaiting  SessionState = "waiting"  // its client is disconnected, and may reconnect
	SessionDetached SessionState = "detached" // it continues without a client
	SessionEnded    SessionState = "ended"    // the command has ended; its last output and exit status are not read yet
)

// Session is a command, copy or connection that runs in a guest for a client.
type Session struct {
	ID      string       `json:"id"`      // at least 8 hexadecimal digits
	Kind    string       `json:"kind"`    // exec, shell, copy, ssh, forward
	Command string       `json:"command"` // shortened; for a copy the path, for a forward the target
	TTY     bool         `json:"tty,omitempty"`
	State   SessionState `json:"state"`
	// Kept reports that it continues when its client disconnects.
	Kept      bool      `json:"kept,omitempty"`
	PID       int       `json:"pid,omitempty"` // of the command, in the guest
	StartedAt time.Time `json:"started_at"`
	BytesIn   int64     `json:"bytes_in"`  // from the client
	BytesOut  int64     `json:"bytes_out"` // to the client
	// ExitCode is set once the command has ended.
	ExitCode *int `json:"exit_code,omitempty"`
}

// SessionList answers GET /v1/vms/{vm}/sessions, oldest first.
type SessionList struct {
	Sessions []Session `json:"sessions"`
}
