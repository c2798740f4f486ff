package stdio

// The networks of an Endpoint.
const (
	TCP  = "tcp"
	UDP  = "udp"
	Unix = "unix"
)

// Endpoint is where a connection leads, or where it comes in.
type Endpoint struct {
	Network string `json:"network"`
	// Address is a path for Unix sockets, else HOST:PORT. Without a host it is the
	// loopback.
	Address string `json:"address"`
}

// Listen has the agent listen. The session lasts for as long as it listens.
type Listen struct {
	Endpoint
	ID string `json:"id"` // chosen by the client; who knows it may take connections
}

// Accept takes a connection that a session of kind Listen told of.
type Accept struct {
	ID     string `json:"id"`
	Number int    `json:"number"`
	Refuse bool   `json:"refuse,omitempty"` // reset it: it leads nowhere
}

// Ports asks for what listens in the guest.
type Ports struct{}

// Taken is what a session of kind Listen says: first where it listens, with the
// number 0, then of each connection, numbered from 1 up.
type Taken struct {
	Number  int    `json:"number"`
	Address string `json:"address"` // ours, then the other end's
}
