package treesync

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's names of objects
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"banger/internal/host/fsx"
	"banger/internal/workspace/objects"
)

// stage has copies of the host's files that are the snapshot's: what the guest gets is what both
// agree on, even if the file changes meanwhile.
type stage struct {
	dir   string
	files map[string]staged
}

// staged is one file or link.
type staged struct {
	place string // of the copy
	size  int64
	mode  uint32
	link  string
}

// stage copies the files. One that is not any more as in the snapshot is left out.
func (p *pass) stage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp(p.Dir, "send-")
	if err != nil {
		return nil, fsx.DiskError("copy what the guest is to get", err)
	}
	s := &stage{dir: dir, files: map[string]staged{}}
	var filtered []*item
	for n, i := range p.toGuest {
		if i.host.Mode == "" {
			continue
		}
		f, same, err := p.copyFile(i, filepath.Join(dir, strconv.Itoa(n)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.result.Again = true
		case err != nil:
			return nil, errors.Join(fsx.DiskError("copy what the guest is to get", err), os.RemoveAll(dir))
		case same:
			s.files[i.path] = f
		case i.host.Mode == objects.ModeLink:
			p.result.Again = true
		default:
			s.files[i.path] = f
			filtered = append(filtered, i)
		}
	}
	if err := p.checkFiltered(ctx, s, filtered); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// copyFile copies one file, and reports whether its bytes are those of the snapshot's object.
func (p *pass) copyFile(i *item, place string) (f staged, same bool, err error) {
	in, target, err := p.host.Open(i.path)
	if err != nil {
		return f, false, err
	}
	if in == nil {
		h := hasher(i.host.ID, int64(len(target)))
		_, _ = io.WriteString(h, target)
		return staged{link: target}, i.host.Mode == objects.ModeLink && sum(h) == i.host.ID, nil
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || i.host.Mode == objects.ModeLink {
		return f, false, errors.Join(err, fs.ErrNotExist)
	}
	out, err := os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f, false, err
	}
	h := hasher(i.host.ID, info.Size())
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if err = errors.Join(err, out.Close()); err != nil {
		return f, false, err
	}
	return staged{place: place, size: n, mode: uint32(info.Mode().Perm())}, n == info.Size() && sum(h) == i.host.ID, nil
}

// hasher makes the name of a blob of so many bytes (git-hash-object(1)), in the format of id.
func hasher(id string, size int64) hash.Hash {
	h := sha256.New()
	if len(id) == 2*sha1.Size {
		h = sha1.New() //nolint:gosec // the format of the repository: git-hash-object(1)
	}
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

func sum(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)) }

// checkFiltered has git say of files to which filters or line ends apply whether they are the
// snapshot's, with its attributes. Others are left out.
func (p *pass) checkFiltered(ctx context.Context, s *stage, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	work := filepath.Join(s.dir, "work")
	var names strings.Builder
	for _, i := range items {
		if strings.EqualFold(filepath.Base(i.path), ".gitattributes") { // in work, it would decide
			continue
		}
		place := filepath.Join(work, filepath.FromSlash(i.path))
		if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
			return fsx.DiskError("copy what the guest is to get", err)
		}
		if err := os.Rename(s.files[i.path].place, place); err != nil {
			return err
		}
		f := s.files[i.path]
		f.place = place
		s.files[i.path] = f
		names.WriteString(i.path + "\x00")
	}
	differ, err := p.differing(ctx, s.dir, work, names.String())
	if err != nil {
		return err
	}
	for _, i := range items {
		if differ[i.path] || !strings.HasPrefix(s.files[i.path].place, work) {
			delete(s.files, i.path)
			p.result.Again = true
		}
	}
	return nil
}

// differing returns the files below work that are not the snapshot's.
func (p *pass) differing(ctx context.Context, dir, work, names string) (map[string]bool, error) {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, fsx.DiskError("copy what the guest is to get", err)
	}
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	private := []string{"-c", "core.splitIndex=false", "-c", "index.sparse=false", "-c", "core.untrackedCache=false", "-c", "core.fileMode=false"}
	git := func(input string, args ...string) ([]byte, error) {
		return p.repo.Git(ctx, env, strings.NewReader(input), append(private[:len(private):len(private)], args...)...)
	}
	if _, err := git("", "read-tree", p.snap); err != nil {
		return nil, err
	}
	if _, err := git(names, "--work-tree="+work, "update-index", "-z", "--stdin"); err != nil {
		return nil, err
	}
	out, err := git("", "diff-index", "--cached", "-z", "--name-only", "--no-renames", "--ignore-submodules=all", p.snap, "--")
	differ := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		differ[name] = true
	}
	return differ, err
}
