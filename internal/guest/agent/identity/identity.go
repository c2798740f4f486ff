// Package identity gives a copy of a guest what it must not share with the guest that was saved: its
// host name, its machine-id and the host keys of its sshd; and resets its connections.
package identity

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"banger/internal/guest/agentproto"
)

// Options are about one guest.
type Options struct {
	Root string // of its files
	// SetHostname sets the kernel's host name; Hostname is the one that it has.
	SetHostname func(string) error
	Hostname    string
}

// Become makes a copy of a guest one of its own. Each step is tried, whatever became of the others. later,
// unless nil, is what takes too long for a frozen guest.
func Become(o Options, id *agentproto.Identity) (steps []agentproto.Step, later func()) {
	name := ""
	if id != nil {
		name = id.Hostname
	}
	keys, later := o.hostKeys(cmp.Or(name, o.Hostname))
	return []agentproto.Step{o.hostname(name), o.machineID(), keys}, later
}

func failed(name string, err error) agentproto.Step {
	return agentproto.Step{Name: name, State: agentproto.StepFailed, Detail: err.Error()}
}

func skipped(name, why string) agentproto.Step {
	return agentproto.Step{Name: name, State: agentproto.StepSkipped, Detail: why}
}

// hostname sets the host name, also in the files that had the old one.
func (o Options) hostname(name string) agentproto.Step {
	if name == "" || name == o.Hostname {
		return skipped(agentproto.StepHostname, "it stays")
	}
	err := o.SetHostname(name)
	if err == nil {
		err = errors.Join(
			o.rewrite("etc/hosts", func(text string) string { return renameHost(text, o.Hostname, name) }),
			o.rewrite("etc/hostname", func(text string) string {
				if strings.TrimSpace(text) != o.Hostname {
					return text
				}
				return name + "\n"
			}))
	}
	if err != nil {
		return failed(agentproto.StepHostname, err)
	}
	return agentproto.Step{Name: agentproto.StepHostname, State: agentproto.StepDone, Detail: name}
}

// renameHost replaces a name in hosts(5), on the lines of the guest itself.
func renameHost(text, old, name string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		entry, comment, commented := strings.Cut(strings.TrimSuffix(line, "\n"), "#")
		field := strings.Fields(entry)
		if len(field) < 2 || !strings.HasPrefix(field[0], "127.") && field[0] != "::1" || !replace(field[1:], old, name) {
			out.WriteString(line)
			continue
		}
		out.WriteString(field[0] + "\t" + strings.Join(field[1:], " "))
		if commented {
			out.WriteString(" #" + comment)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// replace replaces old in words and reports whether it was there.
func replace(words []string, old, name string) (found bool) {
	for i, word := range words {
		if word == old {
			words[i], found = name, true
		}
	}
	return found
}

// The files of machine-id(5), and of dbus-uuidgen(1).
var machineIDs = []string{"etc/machine-id", "run/machine-id", "var/lib/dbus/machine-id"}

// credentials has what systemd has encrypted for the machine. systemd removes it if the machine-id is
// another one (systemd-creds(1)), and with it whatever only it can decrypt.
const credentials = "var/lib/systemd/credential.secret"

// machineID makes a new machine-id in the files that have the old one.
func (o Options) machineID() agentproto.Step {
	const step = agentproto.StepMachineID
	if _, err := os.Lstat(filepath.Join(o.Root, credentials)); err == nil {
		return skipped(step, "systemd has encrypted credentials for it")
	}
	old := ""
	for _, name := range machineIDs[:2] {
		text, _ := os.ReadFile(filepath.Join(o.Root, name))
		if id := strings.TrimSpace(string(text)); isMachineID(id) {
			old = id
			break
		}
	}
	if old == "" { // also "uninitialized": init makes one at the first boot
		return skipped(step, "the guest has none")
	}
	random := make([]byte, 16)
	rand.Read(random) // never fails (crypto/rand)
	id := newMachineID(random)
	var errs []error
	for _, name := range machineIDs {
		errs = append(errs, o.rewrite(name, func(text string) string {
			if strings.TrimSpace(text) != old {
				return text
			}
			return id + "\n"
		}))
	}
	if err := errors.Join(errs...); err != nil {
		return failed(step, err)
	}
	return agentproto.Step{Name: step, State: agentproto.StepDone, Detail: id}
}

// newMachineID formats 16 random bytes as an id, which is a UUID of version 4 (machine-id(5)).
func newMachineID(b []byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.EncodeToString(b)
}

func isMachineID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 16
}

// maxFile bounds the files that are changed, in bytes.
const maxFile = 1 << 20

// rewrite changes a file in place: it may be a mount point. A file that is missing stays so, and
// symbolic links are not followed: they lead to another of these files, or out of the root.
func (o Options) rewrite(name string, change func(string) string) error {
	path := filepath.Join(o.Root, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s is too large", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := change(string(text))
	if changed == string(text) {
		return nil
	}
	return os.WriteFile(path, []byte(changed), info.Mode().Perm()) // root may write what has 0444
}
