package jailed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/rootapi"
)

// BootFiles records the digests of the files that VMs boot from, so that each is read once and
// not at every start. Its file is a cache: bangerd-root checks the digests of the files that it
// stores.
type BootFiles struct {
	file string

	mu    sync.Mutex
	known map[string]bootFile // by path; nil: not read yet
}

// bootFile is the state of a file when its digest was computed.
type bootFile struct {
	Inode   uint64    `json:"inode"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	// Change is the time of the inode's last change, which no program can set.
	Change time.Time `json:"change"`
	Digest string    `json:"digest"`
}

// stateOf returns a file's state without its digest.
func stateOf(f *os.File) (bootFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return bootFile{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return bootFile{}, &os.PathError{Op: "read", Path: f.Name(), Err: unix.EINVAL}
	}
	return bootFile{
		Inode: st.Ino, Size: st.Size,
		ModTime: time.Unix(st.Mtim.Unix()).UTC(), Change: time.Unix(st.Ctim.Unix()).UTC(),
	}, nil
}

// same reports whether two states have the same content.
func (f bootFile) same(g bootFile) bool {
	return f.Inode == g.Inode && f.Size == g.Size && f.ModTime.Equal(g.ModTime) && f.Change.Equal(g.Change)
}

// NewBootFiles returns a BootFiles with its cache in a file.
func NewBootFiles(file string) *BootFiles { return &BootFiles{file: file} }

// Keep makes the helper store files.
func (b *BootFiles) Keep(ctx context.Context, helper Helper, paths ...string) error {
	for _, path := range paths {
		if err := b.keep(ctx, helper, path); err != nil {
			return err
		}
	}
	return nil
}

func (b *BootFiles) keep(ctx context.Context, helper Helper, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return unreadable(err)
	}
	defer f.Close()
	digest, err := b.digest(f)
	if err != nil {
		return unreadable(err)
	}
	_, err = helper.Do(ctx, rootapi.BootPutCall{Digest: digest}, nil, f)
	return err
}

// digestOf returns the digest of a file.
func (b *BootFiles) digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer f.Close()
	digest, err := b.digest(f)
	if err != nil {
		return "", unreadable(err)
	}
	return digest, nil
}

func unreadable(err error) error {
	return api.Errorf(api.KindInternal, "cannot read the files that the VM boots from: %w", err)
}

func (b *BootFiles) digest(f *os.File) (string, error) {
	now, err := stateOf(f)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[string]bootFile{}
		if data, err := os.ReadFile(b.file); err == nil && json.Unmarshal(data, &b.known) != nil {
			b.known = map[string]bootFile{}
		}
	}
	if old := b.known[f.Name()]; old.Digest != "" && now.same(old) {
		return old.Digest, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, now.Size)); err != nil {
		return "", err
	}
	now.Digest = hex.EncodeToString(sum.Sum(nil))
	b.known[f.Name()] = now
	b.forgetGone()
	// Only a cache: after a failure the file is read again later.
	_ = fsx.WriteJSON(b.file, b.known)
	return now.Digest, nil
}

func (b *BootFiles) forgetGone() {
	for path := range b.known {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			delete(b.known, path)
		}
	}
}
