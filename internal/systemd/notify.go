package systemd

import (
	"net"
	"os"

	"banger/api"
)

// What a service says of itself, sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify tells the service manager that started this process how it is. Where
// none wants to know, it does nothing.
func Notify(state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	// net takes a leading "@" as the abstract name space, as sd_notify(3) does.
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
