package agentproto

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"banger/api"
)

// The operations a channel can begin with.
const (
	OpHealth   = "health"
	OpShutdown = "shutdown"
	OpClock    = "clock"
	OpGrow     = "grow"   // the file system of the root disk, to the disk's size
	OpFreeze   = "freeze" // everything but the agent and the init, for an attempt
	OpThaw     = "thaw"   // what that attempt has frozen
	OpStream   = "stream" // no response: the frames of package stream follow
	OpEcho     = "echo"   // no response: what follows comes back, for measurements
)

// Request is the first message on every channel.
type Request struct {
	Op     string `json:"op"`
	Reboot bool   `json:"reboot,omitempty"` // shutdown only
	// GraceMS is how long the host waits for the end of a guest that shuts down,
	// before it pulls the plug.
	GraceMS int64 `json:"grace_ms,omitempty"`
	// Time is the host's clock, ns since 1970, and StepNS what the guest's is to be moved
	// by: clock only.
	Time   int64 `json:"time,omitempty"`
	StepNS int64 `json:"step_ns,omitempty"`
	// DiskBytes is the size that the root disk has, or is about to have: grow only.
	DiskBytes int64 `json:"disk_bytes,omitempty"`
	// Attempt is the id of a freeze: freeze and thaw only.
	Attempt string `json:"attempt,omitempty"`
}

// Clock is the guest's.
type Clock struct {
	Time int64 `json:"time"` // ns since 1970
	// Own: somebody in the guest has set it, or a program there keeps it. It is left alone.
	Own bool `json:"own,omitempty"`
}

// defaultGrace is what a host that does not say it gives: an older one, or one that
// waits for as long as it takes.
const defaultGrace = 30 * time.Second

// Grace is how long a guest has for its end.
func (r Request) Grace() time.Duration {
	if r.GraceMS <= 0 {
		return defaultGrace
	}
	return time.Duration(r.GraceMS) * time.Millisecond
}

// Response answers a one-shot request.
type Response struct {
	Error  *api.Error `json:"error,omitempty"`
	Health *Health    `json:"health,omitempty"`
	Clock  *Clock     `json:"clock,omitempty"`
	Frozen *Frozen    `json:"frozen,omitempty"`
	Thawed *Thawed    `json:"thawed,omitempty"`
}

// Health is how the guest is.
type Health struct {
	BootID           string     `json:"boot_id"`
	Version          string     `json:"version"` // of the agent
	Hostname         string     `json:"hostname"`
	Init             string     `json:"init"` // what is process 1: "agent", or the name of its program
	UptimeSeconds    float64    `json:"uptime_seconds"`
	Load             [3]float64 `json:"load"`
	MemoryBytes      int64      `json:"memory_bytes"`
	MemoryAvailable  int64      `json:"memory_available_bytes"`
	Sessions         int        `json:"sessions"`
	AgentMemoryBytes int64      `json:"agent_memory_bytes"` // resident
	AgentGoroutines  int        `json:"agent_goroutines"`
	// Network and Disk are nil in the answers of older agents.
	Network *api.GuestNetwork `json:"network,omitempty"`
	Disk    *api.GuestDisk    `json:"disk,omitempty"`
}

// MaxMessage is the limit for requests and responses.
const MaxMessage = 64 << 10

// WriteMessage writes v as JSON behind its length, in one write.
func WriteMessage(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("message of %d bytes is too long", len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// ReadMessage reads what WriteMessage wrote and not a byte more.
func ReadMessage(r io.Reader, v any) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > MaxMessage {
		return fmt.Errorf("message of %d bytes is too long", n)
	}
	var body bytes.Buffer // grows with what comes, not with what was promised
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(body.Bytes(), v); err != nil {
		return fmt.Errorf("bad message: %w", err)
	}
	return nil
}
