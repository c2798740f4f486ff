package fsx

import (
	"errors"
	"io/fs"
)

// Cause removes the operation and path from an error of package os, for a caller that adds better
// ones.
func Cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
