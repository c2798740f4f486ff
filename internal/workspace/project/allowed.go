package project

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/size"

	"golang.org/x/sys/unix"
)

// Limits of what is remembered of one workspace: the older ones are asked about again.
const (
	maxAllowed      = 100
	maxAllowedBytes = 64 * size.KiB
)

// Allowed are the contents that the user of a workspace has confirmed, in a file of the user's
// state. Two programs that confirm at the same time may lose one of the two: it is asked again.
type Allowed struct {
	path      string
	confirmed []confirmation // oldest first
}

// confirmation is an entry of the file.
type confirmation struct {
	SHA256 string    `json:"sha256"`
	Time   time.Time `json:"time"`
}

type allowedFile struct {
	Confirmed []confirmation `json:"confirmed"`
}

// OpenAllowed reads the file, which may be missing. In a file that is damaged nothing is confirmed.
// It refuses one that another user could have written.
func OpenAllowed(path string) (*Allowed, error) {
	a := &Allowed{path: path}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read what you confirmed, %s: %w", path, fsx.Cause(err))
	}
	defer f.Close()
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return nil, api.Errorf(api.KindInvalid, "cannot use what you confirmed, %s: another user could have changed it", path).
			WithHint("delete the file; banger asks again")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAllowedBytes))
	var file allowedFile
	if err != nil || json.Unmarshal(data, &file) != nil {
		return a, nil
	}
	a.confirmed = file.Confirmed
	return a, nil
}

func (a *Allowed) has(digest string) bool {
	return slices.ContainsFunc(a.confirmed, func(c confirmation) bool { return c.SHA256 == digest })
}

// Allow records that the user confirmed what a workspace asks for.
func (a *Allowed) Allow(r Reach, now time.Time) error {
	if len(r.Needs(a)) == 0 {
		return nil
	}
	all := append(slices.Clone(a.confirmed), confirmation{SHA256: r.digest(), Time: now.UTC().Truncate(time.Second)})
	all = all[max(0, len(all)-maxAllowed):]
	err := os.MkdirAll(filepath.Dir(a.path), 0o700)
	if err == nil {
		err = fsx.WriteJSON(a.path, allowedFile{all})
	}
	if err != nil {
		return fsx.DiskError("record what you confirmed", err)
	}
	a.confirmed = all
	return nil
}
