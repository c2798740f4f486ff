package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"banger/api"
	"banger/internal/digeststore"
	"banger/internal/host/fsx"
)

// source is a kernel to be added: files as packaged.
type source struct {
	kernel  string // vmlinuz or vmlinux
	modules string // a /lib/modules/RELEASE directory; empty if everything is built in
	names   []string
	meta    meta
	prove   bool // boot it first
	// read reads a file; nil: readFile.
	read func(path string) ([]byte, error)
	// unnamed says that the kernel does not become the default.
	unnamed bool
}

// add extracts the parts of a kernel that guests need into the cache.
func (c *Cache) add(ctx context.Context, s source, report api.Report) (api.Kernel, error) {
	report(api.Progress{Step: "kernel", Message: "extracting " + filepath.Base(s.kernel)})
	if s.read == nil {
		s.read = readFile
	}
	data, err := s.read(s.kernel)
	if err != nil {
		return api.Kernel{}, readError(err)
	}
	v, err := extract(data)
	if err != nil {
		return api.Kernel{}, api.Errorf(kindOf(err), "cannot use kernel %s: %w", s.kernel, err)
	}
	tree, err := openModules(s.modules, s.read)
	if err != nil {
		return api.Kernel{}, readError(err)
	}
	names := wanted()
	if tree.has(vsockModule) {
		names = append(names, vsockModule)
	}
	modules, err := tree.resolve(names)
	if err != nil {
		return api.Kernel{}, api.Errorf(kindOf(err), "cannot use the modules of kernel %s: %w", s.kernel, err)
	}
	for _, what := range tree.absent {
		report(api.Progress{Step: api.StepNote, Message: "not in this kernel: " + what + " (optional)"})
	}
	s.meta.Arch, s.meta.CreatedAt = "amd64", time.Now().UTC()
	s.meta.Extraction = extraction
	s.meta.Release = release(v, s)
	more, err := guestArchive(tree, s.meta.Release)
	if err != nil {
		return api.Kernel{}, api.Errorf(kindOf(err), "cannot use the modules of kernel %s: %w", s.kernel, err)
	}
	dir, err := c.store.Stage()
	if err != nil {
		return api.Kernel{}, err
	}
	defer os.RemoveAll(dir)
	if err := writeKernel(dir, v, modules, more, s.meta); err != nil {
		return api.Kernel{}, fsx.DiskError("store kernel", err)
	}
	if s.prove && c.proof != nil {
		if err := c.proof.of(ctx, dir, modules, report); err != nil {
			return api.Kernel{}, api.Errorf(api.KindOf(err), "cannot use kernel %s: %w", s.kernel, err)
		}
	}
	return c.commit(dir, contentDigest(v, modules), s)
}

func release(v vmlinux, s source) string {
	switch {
	case v.release != "":
		return v.release
	case s.modules != "":
		return filepath.Base(s.modules)
	}
	return "unknown"
}

// kindOf returns KindInvalid for the plain errors of parsers: the file is at fault.
func kindOf(err error) api.Kind {
	if kind := api.KindOf(err); kind != api.KindInternal {
		return kind
	}
	return api.KindInvalid
}

// contentDigest identifies what boots: kernel and modules, in order.
func contentDigest(v vmlinux, modules []module) string {
	h := sha256.New()
	fmt.Fprintf(h, "vmlinux %x\n", sha256.Sum256(v.image))
	for _, m := range modules {
		fmt.Fprintf(h, "%s %x\n", m.name, sha256.Sum256(m.data))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writeKernel(dir string, v vmlinux, modules []module, more []byte, m meta) error {
	size := int64(len(v.image) + len(more))
	for _, mod := range modules {
		size += int64(len(mod.data))
	}
	if err := fsx.NeedSpace(dir, size); err != nil {
		return err
	}
	if err := fsx.WriteFile(filepath.Join(dir, vmlinuxFile), v.image, 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, modulesDir), 0o700); err != nil {
		return err
	}
	if more != nil {
		if err := fsx.WriteFile(filepath.Join(dir, guestFile), more, 0o600); err != nil {
			return err
		}
	}
	m.Modules = []string{}
	for i, mod := range modules {
		name := filepath.Base(moduleFile(i, mod.name))
		if err := fsx.WriteFile(filepath.Join(dir, modulesDir, name), mod.data, 0o600); err != nil {
			return err
		}
		m.Modules = append(m.Modules, name)
	}
	return fsx.WriteJSON(filepath.Join(dir, digeststore.MetaFile), m)
}

// commit moves a finished directory to its place and names it. If that fails, it moves
// the directory back, if the kernel is new.
func (c *Cache) commit(dir, hex string, s source) (api.Kernel, error) {
	l := c.store.Lock()
	defer l.Unlock()
	old, err := c.meta(hex)
	switch {
	case err == nil && old.Extraction < extraction:
		// The booted files are the same; an older banger may have stored less
		// information.
		for _, name := range []string{guestFile, digeststore.MetaFile} {
			err := os.Rename(filepath.Join(dir, name), c.store.Path(hex, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return api.Kernel{}, fsx.DiskError("describe kernel", err)
			}
		}
	case err != nil:
		return withNames(l.Commit(dir, hex, s.namesIn(l)...))
	}
	return withNames(l.Name(hex, s.namesIn(l)...))
}

func (s source) namesIn(l locked) []string {
	if s.unnamed {
		return nil
	}
	return withDefault(l, s.names)
}

// withDefault adds the name of the default kernel if there is none: the first kernel
// becomes the default.
func withDefault(l locked, names []string) []string {
	if hex, _ := l.Named(DefaultName); hex == "" {
		names = append(slices.Clone(names), DefaultName)
	}
	return names
}

// readError explains a kernel that only root can read, as in some distributions.
func readError(err error) error {
	if os.IsPermission(err) || strings.Contains(err.Error(), "permission denied") {
		return api.Errorf(api.KindDenied, "cannot read kernel: %w", err).
			WithHint("copy the files to where you can read them (sudo install -m 644 …), then banger kernel import FILE --modules DIRECTORY")
	}
	return api.Errorf(kindOf(err), "cannot read kernel: %w", err)
}
