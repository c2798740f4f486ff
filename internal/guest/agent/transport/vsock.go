package transport

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/guest/agentproto"
)

// vsock(7) describes the addresses. Only x/sys is used: os.File on a non-blocking socket has deadlines
// and the runtime's poller, and nothing else of a net.Conn is needed.

const (
	// vsockBacklog is how many connections may wait; the newest one is used.
	vsockBacklog = 8
	// acceptAgain is the pause if the guest is short of descriptors or memory: nothing announces
	// that some are available again.
	acceptAgain = 100 * time.Millisecond
)

// Vsock is a listening vsock port: the guest's end of Firecracker's vsock device.
// It survives the restore of a snapshot, which breaks only the connections
// (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, virtio specification 5.10.6.7).
type Vsock struct {
	*latestConn
	file *os.File
}

// ListenVsock listens on a port of every address that the guest has. The vsock
// modules must be loaded.
func ListenVsock(port uint32) (*Vsock, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot use vsock, which this kernel may lack: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot bind vsock port %d: %w", port, err)
	}
	if err := unix.Listen(fd, vsockBacklog); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot listen on vsock port %d: %w", port, err)
	}
	v := &Vsock{file: os.NewFile(uintptr(fd), "vsock")}
	v.latestConn = serveLatest(v.accept)
	return v, nil
}

// Close ends the listener and the connection.
func (v *Vsock) Close() error { return v.file.Close() }

// accept waits for the host to connect.
func (v *Vsock) accept() (agentproto.Conn, error) {
	raw, err := v.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		var fd int
		var peer unix.Sockaddr
		var failed error
		err := raw.Read(func(listener uintptr) bool {
			fd, peer, failed = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return failed != unix.EAGAIN
		})
		if err != nil {
			return nil, err
		}
		switch failed {
		case nil:
			if fromHost(peer) {
				return os.NewFile(uintptr(fd), "vsock"), nil
			}
			unix.Close(fd)
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			time.Sleep(acceptAgain)
		default:
			return nil, os.NewSyscallError("accept", failed)
		}
	}
}

// fromHost reports whether a connection is from the host, not from a program in the guest.
func fromHost(peer unix.Sockaddr) bool {
	vm, ok := peer.(*unix.SockaddrVM)
	return ok && vm.CID == unix.VMADDR_CID_HOST
}

// NotifyHost connects to a vsock port of the host and closes the connection: the host learns that the
// guest is ready without polling. If nobody listens, the connection is refused.
func NotifyHost(port uint32) error {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		// A signal to this process ends the attempt, so try again.
		if err := unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port}); err != unix.EINTR {
			return err
		}
	}
}
