package system

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/fetch"
	"banger/internal/host/fsx"
	"banger/internal/paths"
	"banger/internal/system/fcrelease"
)

// FirecrackerOptions select the Firecracker to get.
type FirecrackerOptions struct {
	Want     fcrelease.Want
	Back     bool          // switch back to the previous version instead
	Source   string        // URL of the releases
	Client   *fetch.Client // see fcrelease.NewClient
	Progress func(what string, done, total int64)
}

// FirecrackerChange is the result of GetFirecracker.
type FirecrackerChange struct {
	Version  string           `json:"version,omitempty"`  // in use now; empty: none installed by banger
	Previous string           `json:"previous,omitempty"` // what --rollback switches back to
	Changed  bool             `json:"changed"`
	Kept     []string         `json:"kept,omitempty"` // older versions in use by running VMs
	Used     FirecrackerState `json:"used"`
}

// FirecrackerState is what the root helper reports about the Firecracker of VMs.
type FirecrackerState struct {
	Version  string   `json:"version,omitempty"` // empty: none is usable
	Path     string   `json:"path,omitempty"`
	Jailer   string   `json:"jailer,omitempty"`
	Problem  string   `json:"problem,omitempty"` // why none is usable
	Warnings []string `json:"warnings,omitempty"`
	NoKVM    string   `json:"no_kvm,omitempty"`  // why it could not work in any case
	Unknown  bool     `json:"unknown,omitempty"` // the helper could not be asked; Problem says why
}

// GetFirecracker gets a release of Firecracker and switches to it, or switches back to
// the previous one. Running VMs keep the version that they were started with.
func (h *Host) GetFirecracker(ctx context.Context, o FirecrackerOptions, report Report) (FirecrackerChange, error) {
	const verb = "get Firecracker"
	if err := h.rootGetsFirecracker(); err != nil {
		return FirecrackerChange{}, err
	}
	if _, err := h.Record(); err != nil {
		return FirecrackerChange{}, err
	}
	release, err := h.installation().updates.exclude(ctx, verb)
	if err != nil {
		return FirecrackerChange{}, err
	}
	defer release()
	if err := h.installation().updates.refuse(verb); err != nil {
		return FirecrackerChange{}, err
	}
	s := &fcrelease.Store{
		Dir: h.files().path(paths.Firecracker), Source: o.Source, Client: o.Client, Root: h.Superuser, Now: h.Now,
		Step: report, Progress: o.Progress, Run: fcrelease.Version,
	}
	used := firecrackers{h.files(), h.Connect}
	before, _, err := s.Current()
	if err != nil {
		return FirecrackerChange{}, err
	}
	var now fcrelease.Release
	if o.Back {
		now, err = s.Back(used.others())
	} else if err = fcrelease.CheckSource(o.Source); err == nil || o.Want.File != "" {
		now, err = s.Get(ctx, o.Want)
	}
	if err != nil {
		return FirecrackerChange{}, err
	}
	done := FirecrackerChange{Version: now.Version, Previous: now.Previous, Changed: now.Version != before.Version}
	// A failed clean-up must not turn the finished work into a failure.
	done.Kept, err = s.Prune(func(sizes map[int64]bool) (map[string]bool, error) { return used.running(ctx, sizes) })
	if err != nil {
		report("older versions were not removed: " + api.AsError(err).Message)
	}
	done.Used = h.AskFirecracker(ctx)
	return done, nil
}

func (h *Host) rootGetsFirecracker() error {
	if h.UID == h.Superuser {
		return nil
	}
	return api.Errorf(api.KindDenied, "cannot get Firecracker: only root can").WithHint(FirecrackerHint)
}

// firecrackers are those on this machine, and what VMs use of them.
type firecrackers struct {
	tree
	connect func(ctx context.Context) (Manager, error)
}

// others reports whether one is installed that banger did not get.
func (f firecrackers) others() bool {
	for _, dir := range paths.ProgramDirs {
		if _, err := os.Stat(f.path(filepath.Join(dir, "firecracker"))); err == nil {
			return true
		}
	}
	return false
}

// running returns the digests of the programs that VMs run, of those that have one of
// the sizes. The kernel names the program of a process, not the VM's jail.
func (f firecrackers) running(ctx context.Context, sizes map[int64]bool) (map[string]bool, error) {
	m, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	units, err := runningVMs(ctx, m)
	if err != nil {
		return nil, err
	}
	digests := map[string]bool{}
	for _, unit := range units {
		state, err := m.State(ctx, unit)
		if err != nil {
			return nil, err
		}
		if state.MainPID == 0 {
			return nil, fmt.Errorf("%s is starting or stopping", unit)
		}
		if err := addDigest(f.path("/proc/"+strconv.Itoa(state.MainPID)+"/exe"), sizes, digests); err != nil {
			return nil, fmt.Errorf("cannot find out what %s runs: %w", unit, err)
		}
	}
	return digests, nil
}

func addDigest(exe string, sizes map[int64]bool, digests map[string]bool) error {
	f, err := os.Open(exe)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it has just ended
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !sizes[info.Size()] {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	digests[hex.EncodeToString(sum.Sum(nil))] = true
	return nil
}

// Other describes the Firecracker that is used instead of the one that was got, if
// there is one, and why.
func (c FirecrackerChange) Other() string {
	u := c.Used
	switch {
	case c.Version == "":
		return ""
	case u.Unknown:
		return "cannot find out whether VMs use it: " + u.Problem
	case u.Path == "":
		return u.Problem
	case !strings.HasPrefix(u.Path, paths.Firecracker+"/"):
		return "VMs use " + u.Path + ", which is set in /etc/banger/config.toml: remove firecracker and jailer there, then: sudo banger system restart"
	case !strings.HasPrefix(u.Jailer, paths.Firecracker+"/"):
		return "VMs use the jailer " + u.Jailer + ", which is set in /etc/banger/config.toml: remove jailer there, then: sudo banger system restart"
	}
	return ""
}

// FirecrackerHint is what to type without Firecracker.
const FirecrackerHint = firecracker.Get

// FirecrackerConfig returns the path of the settings for GetFirecracker, for root. It
// refuses a file that others can change: it names the source of programs that root
// runs.
func (h *Host) FirecrackerConfig() (path string, err error) {
	if err := h.rootGetsFirecracker(); err != nil {
		return "", err
	}
	path = h.files().path(paths.System().ConfigFile())
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return path, nil
	}
	if err := fsx.OwnersAlone(path, h.Superuser); err != nil {
		return "", api.Errorf(api.KindDenied, "cannot trust %s: %w", paths.System().ConfigFile(), err).
			WithHint("sudo chown root: %[1]s && sudo chmod 644 %[1]s", paths.System().ConfigFile())
	}
	return path, nil
}
