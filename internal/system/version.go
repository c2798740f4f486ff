package system

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"banger/api"
	"banger/internal/paths"
	"banger/internal/system/record"
)

// Record returns the install record, if there is one.
func (h *Host) Record() (record.Record, error) { return h.installation().record.read() }

// SetBuild records which build is installed, after an update has switched to it.
func (h *Host) SetBuild(change func(*record.Record)) error {
	r, err := h.Record()
	if err != nil {
		return err
	}
	change(&r)
	return h.installation().record.write(r)
}

// Files renders what an installation writes for systemd and udev, by path.
func (h *Host) Files() (map[string]string, error) {
	r, err := h.Record()
	if err != nil {
		return nil, err
	}
	rendered, err := h.installation().units.render(r)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, text := range rendered {
		files[path.Join(unitDir, name)] = text
	}
	if h.installation().rules.wanted() {
		files[udevFile] = udevRules
	}
	return files, nil
}

// maxFiles and maxFile bound the files of another version, in number and bytes.
const (
	maxFiles = 12
	maxFile  = 64 << 10
)

// ourName matches the names of banger's units: not those of an administrator's, the
// distribution's, a VM's or the update's.
var ourName = regexp.MustCompile(`^(banger|bangerd|bangerd-root|banger-[a-z]{1,20}-[a-z]{1,20})\.(service|slice|timer|socket)$`)

// CheckFiles refuses files of another version that do not belong to an installation.
func CheckFiles(files map[string]string) error {
	if len(files) == 0 || len(files) > maxFiles {
		return fmt.Errorf("%d unit files are too few or too many", len(files))
	}
	for name, text := range files {
		dir, base := path.Split(name)
		unit := dir == unitDir+"/" && ourName.MatchString(base) && !strings.HasPrefix(base, "banger-vm-")
		switch {
		case !unit && name != udevFile:
			return fmt.Errorf("%q is not one of banger's files", name)
		case !strings.HasPrefix(text, mark):
			return fmt.Errorf("%s does not start like a file of banger", name)
		case len(text) > maxFile || strings.ContainsRune(text, 0):
			return fmt.Errorf("%s is empty, too long or not text", name)
		}
	}
	for _, name := range []string{HelperUnit, DaemonUnit} {
		if _, ok := files[path.Join(unitDir, name)]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

// StartHelper starts or restarts the root helper, and returns when it answers;
// StartDaemon does so for the daemon.
func (h *Host) StartHelper(ctx context.Context) error {
	return h.installation().daemons.startHelper(ctx)
}

// StartDaemon starts the daemon, see StartHelper.
func (h *Host) StartDaemon(ctx context.Context) error {
	return h.installation().daemons.startDaemon(ctx)
}

// NeedRoot refuses work on this machine's installation that requires root.
func (h *Host) NeedRoot(verb, command string) error {
	if h.UID == h.Superuser {
		return nil
	}
	return api.Errorf(api.KindDenied, "cannot %s the system's banger: only root can", verb).WithHint("sudo %s", command)
}

// Installed returns the install record for an update. It refuses programs other than
// the installed ones.
func (h *Host) Installed(dir string) (record.Record, error) {
	r, err := h.Record()
	if err != nil {
		return r, errors.Join(err, h.needSystemd())
	}
	if dir != path.Join(versions, r.Version) {
		return r, api.Errorf(api.KindConflict, "cannot update with the programs in %s: they are not the installed ones", dir).
			WithHint("sudo %s/banger update\nsudo ./banger system install   installs these instead", paths.Commands)
	}
	return r, nil
}
