package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"banger/api"
	"banger/internal/userns"
)

// nameRule keeps names apart from digests' "sha256:" and usable in a shell.
var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]{0,126}[a-z0-9]$|^[a-z0-9]$`)

func checkName(name string) error {
	if nameRule.MatchString(name) && !isHex(name) {
		return nil
	}
	return api.Errorf(api.KindInvalid, "%.80q is no name for an image: at most 128 lower-case letters, digits, and . _ / - in between", name)
}

// Import makes an image of a root file system in a tar archive.
func (c *Cache) Import(ctx context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	if err := checkName(req.Name); err != nil {
		return api.Image{}, err
	}
	if !filepath.IsAbs(req.Path) {
		return api.Image{}, api.Errorf(api.KindInvalid, "the path of an archive must be absolute, not %q", req.Path)
	}
	f, err := os.Open(req.Path)
	if err != nil {
		return api.Image{}, api.Errorf(openKind(err), "cannot open the archive: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return api.Image{}, api.Errorf(api.KindInternal, "cannot open the archive: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return api.Image{}, api.Errorf(api.KindInvalid, "%s is no archive: it is %s", req.Path, whatItIs(info))
	}
	report(api.Progress{Step: "image", Message: "unpacking " + filepath.Base(req.Path), Total: info.Size(), Unit: "bytes"})
	image, err := c.add(ctx, req.Name, meta{Source: req.Path}, report, func(root string) error {
		told, err := job(ctx, report, userns.Call{
			Job: jobUnpack, Args: []string{root, strconv.FormatInt(info.Size(), 10)}, Stdin: f,
		})
		if err == nil && told.Summary != nil {
			warn(*told.Summary, report)
		}
		return err
	})
	if err != nil {
		return image, api.Errorf(api.KindOf(err), "cannot import %s: %w", req.Path, err)
	}
	return image, nil
}

func openKind(err error) api.Kind {
	switch {
	case os.IsNotExist(err):
		return api.KindNotFound
	case os.IsPermission(err):
		return api.KindDenied
	}
	return api.KindInternal
}

func whatItIs(info os.FileInfo) string {
	switch {
	case info.IsDir():
		return "a directory"
	case !info.Mode().IsRegular():
		return "no regular file"
	}
	return "empty"
}

// warn tells what could not be taken over as it was.
func warn(s summary, report api.Report) {
	tell := func(format string, args ...any) {
		report(api.Progress{Step: "image", Message: fmt.Sprintf(format, args...)})
	}
	if s.Devices > 0 {
		tell("left out %d device nodes, which only root may make", s.Devices)
	}
	if s.Owners > 0 {
		tell("gave %d files to root: their owners are beyond your subordinate ids", s.Owners)
	}
	if s.Attrs > 0 {
		tell("left out %d extended attributes", s.Attrs)
	}
	if s.NoShell {
		tell("this file system has no /bin/sh: name the program to run yourself")
	}
}
