package filecopy

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	"banger/api"
)

// KindOf returns the kind of an error of this package.
func KindOf(err error) api.Kind {
	var known *api.Error
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return api.KindNoSpace
	case errors.Is(err, fs.ErrNotExist):
		return api.KindNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return api.KindDenied
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG),
		errors.Is(err, syscall.EFBIG), errors.Is(err, io.ErrUnexpectedEOF):
		return api.KindInvalid
	}
	return api.KindInternal
}
