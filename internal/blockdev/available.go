package blockdev

import (
	"errors"

	"golang.org/x/sys/unix"

	"banger/api"
)

// Available says why AttachSnapshot cannot work on this host, if so. It loads
// the modules that are needed.
func Available() error {
	if err := AvailablePlain(); err != nil {
		return err
	}
	if err := snapshots(); err != nil {
		return api.Errorf(hostKind(err), "cannot use the device-mapper: %w", err)
	}
	return nil
}

// AvailablePlain says why AttachPlain cannot work on this host, if so.
func AvailablePlain() error {
	f, err := openLoopControl()
	if err != nil {
		return api.Errorf(hostKind(err), "cannot use loop devices: %w", err)
	}
	f.Close()
	return nil
}

// snapshots looks whether the device-mapper has the target. Asking for one
// target's version loads its module (dm_get_target_type), since Linux 5.4.
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
