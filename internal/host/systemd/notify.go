package systemd

import (
	"net"
	"os"

	"banger/api"
)

// The states that a service reports, sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify reports a state to the service manager that started this process. If there is
// none, it does nothing.
func Notify(state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	// net converts a leading "@" to the abstract name space, as sd_notify(3) does.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot notify the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return api.Errorf(api.KindInternal, "cannot notify the service manager: %w", err)
	}
	return nil
}
