package tarball

import "banger/api"

// Limits bound what an archive may contain. They are sent to the job that unpacks.
type Limits struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"` // of all files, and of each archive before compression
	Path    int   `json:"path"`  // PATH_MAX of limits.h
	Depth   int   `json:"depth"` // directories above an entry

	// Ratio is how many times its own size an archive may unpack to, beyond Free bytes.
	// gzip reaches at most 1032 (zlib's technical notes).
	Ratio int64 `json:"ratio"`
	Free  int64 `json:"free"`
}

// DefaultLimits are those of all imports and pulls.
var DefaultLimits = Limits{Entries: 4 << 20, Bytes: 64 << 30, Path: 4095, Depth: 255, Ratio: 500, Free: 1 << 30}

// Check refuses an archive if in bytes of it may not unpack to out bytes.
func (l Limits) Check(in, out int64) error {
	switch {
	case out > l.Bytes:
		return l.TooLarge()
	case out > l.Free && out/l.Ratio > in:
		return api.Errorf(api.KindInvalid, "the archive unpacks to more than %d times its size", l.Ratio)
	}
	return nil
}

// TooLarge is the error for an archive with more than Bytes.
func (l Limits) TooLarge() *api.Error {
	return api.Errorf(api.KindInvalid, "the archive contains more than %d GiB", l.Bytes>>30)
}
