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
	"banger/internal/fsx"
	"banger/internal/paths"
	"banger/internal/system/fcrelease"
)

// FirecrackerOptions say which Firecracker to get.
type FirecrackerOptions struct {
	Want     fcrelease.Want
	Back     bool          // go back to the version before instead
	Source   string        // URL of the releases
	Client   *fetch.Client // as fcrelease.NewClient makes it
	Progress func(what string, done, total int64)
}

// FirecrackerChange is what became of it.
type FirecrackerChange struct {
	Version  string           `json:"version,omitempty"`  // that is used now; empty: none of banger's
	Previous string           `json:"previous,omitempty"` // what --rollback goes back to
	Changed  bool             `json:"changed"`
	Kept     []string         `json:"kept,omitempty"` // older versions that running VMs have
	Used     FirecrackerState `json:"used"`
}

// FirecrackerState is what the root helper says of the Firecracker that VMs get.
type FirecrackerState struct {
	Version  string   `json:"version,omitempty"` // empty: none can be used
	Path     string   `json:"path,omitempty"`
	Jailer   string   `json:"jailer,omitempty"`
	Problem  string   `json:"problem,omitempty"` // why none can be used
	Warnings []string `json:"warnings,omitempty"`
	NoKVM    string   `json:"no_kvm,omitempty"`  // why it could not work in any case
	Unknown  bool     `json:"unknown,omitempty"` // the helper could not be asked; Problem says why
}

// GetFirecracker gets a release of Firecracker and switches to it, or goes back to
// the one before. VMs run on, with what they were started with.
func (h *Host) GetFirecracker(ctx context.Context, o FirecrackerOptions, report Report) (FirecrackerChange, error) {
	const verb = "get Firecracker"
	if err := h.rootGetsFirecracker(); err != nil {
		return FirecrackerChange{}, err
	}
	if _, err := h.record(); err != nil {
		return FirecrackerChange{}, err
	}
	release, err := h.alone(ctx, verb)
	if err != nil {
		return FirecrackerChange{}, err
	}
	defer release()
	if err := h.noUpdate(verb); err != nil {
		return FirecrackerChange{}, err
	}
	s := &fcrelease.Store{
		Dir: h.path(paths.Firecracker), Source: o.Source, Client: o.Client, Root: h.Superuser, Now: h.Now,
		Step: report, Progress: o.Progress, Run: fcrelease.Version,
	}
	before, _, err := s.Current()
	if err != nil {
		return FirecrackerChange{}, err
	}
	var now fcrelease.Release
	if o.Back {
		now, err = s.Back(h.hasFirecracker())
	} else if err = fcrelease.CheckSource(o.Source); err == nil || o.Want.File != "" {
		now, err = s.Get(ctx, o.Want)
	}
	if err != nil {
		return FirecrackerChange{}, err
	}
	done := FirecrackerChange{Version: now.Version, Previous: now.Previous, Changed: now.Version != before.Version}
	// What is in the way of tidying up must not make a failure of what is done.
	done.Kept, err = s.Prune(func(sizes map[int64]bool) (map[string]bool, error) { return h.running(ctx, sizes) })
	if err != nil {
		report("older versions are left alone: " + api.AsError(err).Message)
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

// hasFirecracker tells whether there is a Firecracker that somebody else installed.
func (h *Host) hasFirecracker() bool {
	for _, dir := range paths.ProgramDirs {
		if _, err := os.Stat(h.path(filepath.Join(dir, "firecracker"))); err == nil {
			return true
		}
	}
	return false
}

// running returns the digests of the programs that VMs run, as far as these have one
// of the sizes. The kernel says which program a process runs, not the VM's jail.
func (h *Host) running(ctx context.Context, sizes map[int64]bool) (map[string]bool, error) {
	m, err := h.Connect(ctx)
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
			return nil, fmt.Errorf("%s starts or stops", unit)
		}
		if err := addDigest(h.path("/proc/"+strconv.Itoa(state.MainPID)+"/exe"), sizes, digests); err != nil {
			return nil, fmt.Errorf("cannot tell what %s runs: %w", unit, err)
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

// Other says which Firecracker is used in place of the one that was got, if that is
// so, and why.
func (c FirecrackerChange) Other() string {
	u := c.Used
	switch {
	case c.Version == "":
		return ""
	case u.Unknown:
		return "cannot tell whether VMs get it: " + u.Problem
	case u.Path == "":
		return u.Problem
	case !strings.HasPrefix(u.Path, paths.Firecracker+"/"):
		return "VMs get " + u.Path + ", which /etc/banger/config.toml names: remove firecracker and jailer there, then: sudo banger system restart"
	case !strings.HasPrefix(u.Jailer, paths.Firecracker+"/"):
		return "VMs get the jailer " + u.Jailer + ", which /etc/banger/config.toml names: remove jailer there, then: sudo banger system restart"
	}
	return ""
}

// FirecrackerHint is what to type where there is none.
const FirecrackerHint = firecracker.Get

// FirecrackerConfig returns the path of the settings for GetFirecracker, to root. It
// refuses those that others can change: they say where programs come from that root runs.
func (h *Host) FirecrackerConfig() (path string, err error) {
	if err := h.rootGetsFirecracker(); err != nil {
		return "", err
	}
	path = h.path(paths.System().ConfigFile())
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return path, nil
	}
	if err := fsx.OwnersAlone(path, h.Superuser); err != nil {
		return "", api.Errorf(api.KindDenied, "cannot trust %s: %w", paths.System().ConfigFile(), err).
			WithHint("sudo chown root: %[1]s && sudo chmod 644 %[1]s", paths.System().ConfigFile())
	}
	return path, nil
}
