package api

import "time"

// VersionHeader carries the daemon's version in each of its answers, so that a client of another
// version notices.
const VersionHeader = "Banger-Version"

// ReadyEnv is the environment variable that holds the number of a descriptor on which whoever started
// the daemon waits: the daemon writes "ready\n", or an Error as one line of JSON that says why it did
// not start, and closes it.
const ReadyEnv = "BANGER_READY_FD"

// DaemonStatus answers GET /v1/daemon.
type DaemonStatus struct {
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Commit    string    `json:"commit"`
	Socket    string    `json:"socket"`
	Home      string    `json:"home"` // the directory of VMs, images and the store
	StartedAt time.Time `json:"started_at"`
	VMs       int       `json:"vms"`
	Running   int       `json:"running"`
	// Goroutines and OpenFiles let a test see that nothing leaks.
	Goroutines int   `json:"goroutines"`
	OpenFiles  int   `json:"open_files"`
	RSSBytes   int64 `json:"rss_bytes"`
	// Degraded is why work may not be recorded, such as a full disk; otherwise empty.
	Degraded string `json:"degraded,omitempty"`
}

// Check is one finding of the doctor.
type Check struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warn or fail
	Found  string `json:"found"`  // what was found
	Why    string `json:"why"`    // why it matters
	Fix    string `json:"fix,omitempty"`
}

// Doctor answers GET /v1/doctor.
type Doctor struct {
	Checks []Check `json:"checks"`
}

// ConfigValue is one setting with its effective value.
type ConfigValue struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // file, environment, host, default, "profile NAME", "image NAME" or command
}

// Config answers GET /v1/config.
type Config struct {
	File   string        `json:"file"`
	Values []ConfigValue `json:"values"`
}
