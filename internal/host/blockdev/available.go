package blockdev

import (
	"errors"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Available returns why AttachSnapshot cannot work on this host, or nil. It loads the
// needed modules.
func Available() error {
	if err := AvailablePlain(); err != nil {
		return err
	}
	if err := snapshots(); err != nil {
		return api.Errorf(hostKind(err), "cannot use the device-mapper: %w", err)
	}
	return nil
}

// AvailablePlain returns why AttachPlain cannot work on this host, or nil.
func AvailablePlain() error {
	f, err := openLoopControl()
	if err != nil {
		return api.Errorf(hostKind(err), "cannot use loop devices: %w", err)
	}
	f.Close()
	return nil
}

// snapshots checks that the device-mapper has the target. Since Linux 5.4 a request for
// a target's version loads its module (dm_get_target_type).
func snapshots() error {
	m, err := openMapper()
	if err != nil {
		return err
	}
	defer m.close()
	_, err = m.call(unix.DM_GET_TARGET_VERSION, request{name: snapshotTarget})
	if errors.Is(err, unix.EINVAL) {
		return api.Errorf(api.KindUnsupported, "the kernel has no snapshots: %w", err).WithHint("sudo modprobe dm_snapshot")
	}
	return err
}

func hostKind(err error) api.Kind {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return api.KindDenied
	}
	return api.KindOf(err)
}
