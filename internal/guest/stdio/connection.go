package stdio

// The networks of an Endpoint.
const (
	TCP  = "tcp"
	UDP  = "udp"
	Unix = "unix"
)

// Endpoint is the target of a connection, or the address on which connections are accepted.
type Endpoint struct {
	Network string `json:"network"`
	// Address is a path for Unix sockets, otherwise HOST:PORT. The default host is the
	// loopback.
	Address string `json:"address"`
}

// Listen makes the agent listen for as long as the session exists.
type Listen struct {
	Endpoint
	ID string `json:"id"` // chosen by the client; whoever knows it may accept connections
}

// Accept accepts a connection that a session of kind Listen reported.
type Accept struct {
	ID     string `json:"id"`
	Number int    `json:"number"`
	Refuse bool   `json:"refuse,omitempty"` // reset it: it has no target
}

// Ports requests the listening ports in the guest.
type Ports struct{}

// Taken is a report of a session of kind Listen: the first, with the number 0, is the
// address on which it listens; each further one is a connection, numbered from 1.
type Taken struct {
	Number  int    `json:"number"`
	Address string `json:"address"` // of the listener, or of the connection's other end
}
