package blockdev

import (
	"errors"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/vmid"
)

// The kinds of Object.
const (
	KindMapped = "dm"
	KindLoop   = "loop"
)

// Object is one of banger's devices on the host.
type Object struct {
	Kind    string
	Name    string // of a device-mapper device banger-<id>, of a loop device loopN
	ID      string // the VM's; of a base's loop device ""
	Backing string // the path of the file that the VM writes to; of a base's loop device the base's path
	Used    bool   // it is open, or below another device
}

// List lists all devices with banger's names. Devices that appear or disappear in the
// meantime may be included or not.
func List() ([]Object, error) {
	mapped, err := listMapped()
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list the devices of the device-mapper: %w", err)
	}
	loops, err := listLoops()
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot list the loop devices: %w", err)
	}
	return append(mapped, loops...), nil
}

func listMapped() ([]Object, error) {
	m, err := openMapper()
	if api.KindOf(err) == api.KindUnsupported {
		return nil, nil // so there are no such devices
	}
	if err != nil {
		return nil, err
	}
	defer m.close()
	names, err := m.names()
	if err != nil {
		return nil, err
	}
	var found []Object
	for _, name := range names {
		id, ok := vmid.FromDevice(name)
		if !ok {
			continue
		}
		a, err := m.status(name)
		if errors.Is(err, unix.ENXIO) {
			continue // gone in the meantime
		}
		if err != nil {
			return nil, err
		}
		found = append(found, Object{Kind: KindMapped, Name: name, ID: id, Backing: m.cowFile(name),
			Used: a.open > 0 || len(holders(a.device().Name)) > 0})
	}
	return found, nil
}

// cowFile returns the path of the snapshot's copy-on-write file, or "" if there is none
// (any more).
func (m *mapper) cowFile(name string) string {
	line, err := m.line(name, unix.DM_STATUS_TABLE_FLAG)
	if err != nil {
		return ""
	}
	t, err := parseTable(line)
	if err != nil {
		return ""
	}
	loop, err := loopName(t.cow)
	if err != nil {
		return ""
	}
	return backingFile(loop)
}

func listLoops() ([]Object, error) {
	var found []Object
	err := eachLoop(func(l *loop) (bool, error) {
		name := l.device.Name
		if id, ok := ours(l.tag()); ok {
			found = append(found, Object{Kind: KindLoop, Name: name, ID: id, Backing: backingFile(name),
				Used: len(holders(name)) > 0})
		}
		return false, nil
	})
	return found, err
}
