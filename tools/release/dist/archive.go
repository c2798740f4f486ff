package dist

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"time"

	"banger/api"
	"banger/internal/update/release"
)

// File is a file of an archive or a package.
type File struct {
	Name string // without directories in an archive, absolute in a package
	Mode int64
	Data []byte
	Link string // the target of a symbolic link
}

// readPrograms reads the programs of a release in their order.
func readPrograms(dir string) ([]File, error) {
	var files []File
	for _, name := range release.Programs {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, api.AsError(err)
		}
		if len(data) > release.MaxProgram {
			return nil, api.Errorf(api.KindInvalid, "cannot release %s: it has %d bytes, but hosts accept at most %d", name, len(data), release.MaxProgram)
		}
		files = append(files, File{Name: name, Mode: 0o755, Data: data})
	}
	return files, nil
}

// Archive packs files into a tar.gz that depends only on them and the time, not on
// users' names, the machine's clock or its umask.
func Archive(files []File, at time.Time) ([]byte, error) {
	packed, err := tarball(files, at, tar.FormatUSTAR)
	if err == nil && len(packed) > release.MaxArchive {
		err = api.Errorf(api.KindInvalid, "cannot release an archive of %d bytes: hosts accept at most %d", len(packed), release.MaxArchive)
	}
	return packed, err
}

func tarball(files []File, at time.Time, format tar.Format) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data)), ModTime: at, Format: format}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		case h.Name[len(h.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.Data); err != nil {
			return nil, err
		}
	}
	err = errors.Join(t.Close(), z.Close())
	return out.Bytes(), err
}

// gzipped compresses like `gzip -9n`: without name and time.
func gzipped(data []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = z.Write(data)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}
