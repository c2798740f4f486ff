// Package apt uses the host's package manager as an ordinary user: with the
// host's own sources, keyrings, proxies and settings, but lists and archives
// in a private directory. Nothing is installed. Signatures are checked by apt
// itself, so the distribution's signing keys are the trust chain.
package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
)

// Apt is apt with its state in a directory of its own.
type Apt struct {
	dir string
	mu  sync.Mutex // one apt at a time: they would wait for each other's lock files
}

// New returns an Apt whose lists and archives are in dir, which is made when
// it is needed.
func New(dir string) *Apt { return &Apt{dir: dir} }

// hint is what works on a host without apt.
const hint = "use `banger kernel import --host` and `banger image import FILE NAME` on this host"

// Available says whether this host has apt.
func (a *Apt) Available() error {
	if _, err := execx.LookPath("apt-get", ""); err != nil {
		return api.Errorf(api.KindUnsupported, "this host has no apt to fetch packages with").WithHint(hint)
	}
	return nil
}

// settings is read after all of the host's own files (apt.conf(5)), and drops
// what would write outside of our directory (hooks) or fetch what banger does
// not read (translations).
const settings = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear Acquire::Languages;
Acquire::Languages { "none"; };
`

// prepare makes the directory and returns the arguments that every call needs.
func (a *Apt) prepare() ([]string, error) {
	if err := a.Available(); err != nil {
		return nil, err
	}
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o700); err != nil {
			return nil, fsx.DiskError("make directory", err)
		}
	}
	conf := filepath.Join(a.dir, "apt.conf")
	if old, err := os.ReadFile(conf); err != nil || string(old) != settings {
		if err := fsx.WriteFile(conf, []byte(settings), 0o600); err != nil {
			return nil, fsx.DiskError("write apt settings", err)
		}
	}
	return []string{
		"-c", conf, // read after the host's files, so that #clear works
		"-o", "Dir::State::Lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::Cache=" + a.dir,
		"-o", "Dir::Cache::Archives=" + filepath.Join(a.dir, "archives"),
		"-o", "Dir::Cache::pkgcache=pkgcache.bin",
		"-o", "Dir::Cache::srcpkgcache=srcpkgcache.bin",
		// As root apt would switch to its own user, who may not enter our directory.
		"-o", "APT::Sandbox::User=root",
	}, nil
}

// output runs an apt program and returns what it prints.
func (a *Apt) output(ctx context.Context, name string, args ...string) (string, error) {
	base, err := a.prepare()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = execx.Run(ctx, execx.Cmd{Name: name, Args: append(base, args...), Stdout: &out, Package: "apt"})
	return out.String(), err
}

// fetch runs an apt-get that downloads, and reports how far it is as its
// share of total bytes (percent where total is 0).
func (a *Apt) fetch(ctx context.Context, dir string, p *progress, args ...string) error {
	base, err := a.prepare()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.follow(r)
	}()
	// Descriptor 3 is the first of ExtraFiles.
	base = append(base, "-q", "-y", "-o", "APT::Status-Fd=3")
	err = execx.Run(ctx, execx.Cmd{Name: "apt-get", Args: append(base, args...), Dir: dir, ExtraFiles: []*os.File{w}, Package: "apt"})
	closed := w.Close()
	<-done
	return errors.Join(err, closed, r.Close())
}

// Depends returns the names of the packages that the candidate version of pkg
// depends on: the first of alternatives, without versions.
func (a *Apt) Depends(ctx context.Context, pkg string) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, err := a.output(ctx, "apt-cache", "show", "--no-all-versions", pkg)
	if err != nil {
		return nil, api.Errorf(api.KindNotFound, "cannot find package %s: %w", pkg, err).
			WithHint("look at what `apt-cache policy %s` says, or %s", pkg, hint)
	}
	return parseDepends(out), nil
}

// parseDepends reads the Depends fields of a control stanza (deb-control(5)).
func parseDepends(stanza string) []string {
	var names []string
	for field, value := range fields(stanza) {
		if field != "Depends" && field != "Pre-Depends" {
			continue
		}
		for entry := range strings.SplitSeq(value, ",") {
			first, _, _ := strings.Cut(entry, "|")
			name, _, _ := strings.Cut(strings.TrimSpace(first), " ")
			name, _, _ = strings.Cut(name, ":") // an architecture qualifier
			if name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
