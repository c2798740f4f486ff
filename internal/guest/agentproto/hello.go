package agentproto

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// Protocol is the version of the protocol that this package describes. Both sides send
// theirs in the greeting; they communicate only if the versions are equal.
const Protocol = 1

const (
	nonceSize   = 16
	entropySize = 64
	// maxGreeting, in bytes, is more than ten times the size of a greeting.
	maxGreeting = 4 << 10
)

// Hello is the host's first message on every connection.
type Hello struct {
	Protocol int    `json:"protocol"`
	Nonce    []byte `json:"nonce"`   // 16 random bytes, new for every connection
	Time     int64  `json:"time"`    // the host's clock, ns since 1970
	Entropy  []byte `json:"entropy"` // 64 random bytes for the guest's generator
	Version  string `json:"version"` // of banger
	// Incarnation is nil in a greeting of a guest that continues as it was. Older agents ignore it,
	// and say so by an Ack without Done.
	Incarnation *Incarnation `json:"incarnation,omitempty"`
	Identity    *Identity    `json:"identity,omitempty"`
}

// Ack is the agent's answer to a Hello.
type Ack struct {
	Protocol int    `json:"protocol"`
	Nonce    []byte `json:"nonce"` // the host's
	BootID   string `json:"boot_id"`
	Version  string `json:"version"` // of the agent
	// Incarnation is that of this guest; nil: it was never saved, or the agent is older.
	Incarnation *Incarnation `json:"incarnation,omitempty"`
	Done        *Done        `json:"done,omitempty"`
}

// NewHello returns a greeting with fresh random bytes.
func NewHello(version string, now time.Time) Hello {
	h := Hello{
		Protocol: Protocol,
		Nonce:    make([]byte, nonceSize),
		Time:     now.UnixNano(),
		Entropy:  make([]byte, entropySize),
		Version:  version,
	}
	rand.Read(h.Nonce) // never fails (crypto/rand)
	rand.Read(h.Entropy)
	return h
}

func sessionOf(nonce []byte) uint64 { return binary.BigEndian.Uint64(nonce) }

func greetingFrame(kind frameType, nonce []byte, v any) ([]byte, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(payload) > maxGreeting {
		return nil, fmt.Errorf("greeting of %d bytes is too long", len(payload))
	}
	return appendFrame(nil, frame{kind: kind, session: sessionOf(nonce), payload: payload}), nil
}

// parseGreeting reads the payload of a greeting into v and checks its nonce.
func parseGreeting(f frame, v any, nonce *[]byte) error {
	if len(f.payload) > maxGreeting {
		return fmt.Errorf("greeting of %d bytes is too long", len(f.payload))
	}
	if err := json.Unmarshal(f.payload, v); err != nil {
		return fmt.Errorf("bad greeting: %w", err)
	}
	if len(*nonce) != nonceSize || sessionOf(*nonce) != f.session {
		return fmt.Errorf("bad greeting: its nonce is wrong")
	}
	return nil
}
