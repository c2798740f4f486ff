package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// uevents receives the kernel's announcements of devices
// (Documentation/driver-api/driver-model, netlink(7)).
type uevents struct{ fd int }

// openUevents begins to listen. Later events are not missed.
func openUevents() (*uevents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listen to device events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen to device events: %w", err)
	}
	return &uevents{fd}, nil
}

func (u *uevents) close() { unix.Close(u.fd) }

var errNoDevice = errors.New("it did not appear")

// await waits until check returns true; it calls check after every event.
func (u *uevents) await(wait time.Duration, check func() bool) error {
	deadline := time.Now().Add(wait)
	buf := make([]byte, 8<<10)
	for !check() {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%w within %v", errNoDevice, wait)
		}
		timeout := unix.NsecToTimeval(int64(left))
		if err := unix.SetsockoptTimeval(u.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		_, _, err := unix.Recvfrom(u.fd, buf, 0)
		// ENOBUFS: events were lost, so look again.
		if err != nil && err != unix.EAGAIN && err != unix.EINTR && err != unix.ENOBUFS {
			return err
		}
	}
	return nil
}

// findPort waits for the agent's virtio-serial port and returns its device.
func findPort() (string, error) {
	events, err := openUevents()
	if err != nil {
		return "", err
	}
	defer events.close()
	var path string
	err = events.await(deviceWait, func() bool {
		path = portIn("/sys/class/virtio-ports", "/dev")
		return path != "" && exists(path)
	})
	if err != nil {
		return "", fmt.Errorf("virtio-serial port %s: %w", agentproto.PortName, err)
	}
	return path, nil
}

// portIn finds the agent's port in sysfs.
func portIn(class, dev string) string {
	names, _ := filepath.Glob(filepath.Join(class, "*", "name"))
	for _, file := range names {
		if name, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(name)) == agentproto.PortName {
			return filepath.Join(dev, filepath.Base(filepath.Dir(file)))
		}
	}
	return ""
}
