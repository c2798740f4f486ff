package imagebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/worktest"
)

// workspace is a repository with files, each as worktest.Write makes it.
func workspace(t *testing.T, files map[string]string) *worktest.Repo {
	t.Helper()
	r := worktest.New(t)
	for name, content := range files {
		r.Write(t, name, content)
	}
	return r
}

func open(t *testing.T, r *worktest.Repo, how gitrepo.Select, b devcontainer.Build) (*Source, error) {
	t.Helper()
	repo, err := gitrepo.Open(t.Context(), r.Dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return Open(t.Context(), repo, how, b)
}

// guest is a guest with files, which runs nothing.
type guest struct {
	files map[string]string // by path; a directory ends in a slash, the target of a link follows "-> "
	ran   []api.Exec
	run   func(ctx context.Context, out io.Writer) (int, error)
	// archive is the stream that Get answers with.
	archive func() io.Reader
	putErr  error
}

// Put implements Guest.
func (g *guest) Put(_ context.Context, _ string, stream io.Reader, _ io.Writer) error {
	if g.putErr != nil {
		return g.putErr
	}
	r := tar.NewReader(stream)
	for {
		h, err := r.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, stream)
			return err
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		text := string(content)
		if h.Typeflag == tar.TypeSymlink {
			text = "-> " + h.Linkname
		}
		g.files["/"+h.Name] = text
	}
}

// Run implements Guest.
func (g *guest) Run(ctx context.Context, exec api.Exec, out io.Writer) (int, error) {
	g.ran = append(g.ran, exec)
	if g.run == nil {
		return 0, nil
	}
	return g.run(ctx, out)
}

// Get implements Guest.
func (g *guest) Get(_ context.Context, name string, _ io.Writer) (io.ReadCloser, error) {
	if name != path.Join(dir, resultName) {
		return nil, errors.New("the guest has no " + name)
	}
	return io.NopCloser(g.archive()), nil
}

// archived is a tar stream of one entry, cut off after so many bytes; 0: complete.
func archived(h tar.Header, content string, cut int) func() io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&h)
	_, _ = io.WriteString(w, content)
	_ = w.Flush()
	if cut > 0 {
		b.Truncate(cut)
	} else {
		_ = w.Close()
	}
	return func() io.Reader { return bytes.NewReader(b.Bytes()) }
}

func result(content string) func() io.Reader {
	return archived(tar.Header{Typeflag: tar.TypeReg, Name: resultName, Mode: 0o600, Size: int64(len(content))}, content, 0)
}

// sent are the files of the guest that are not directories, below its context.
func (g *guest) sent() map[string]string {
	all := map[string]string{}
	for name, content := range g.files {
		if rel, found := strings.CutPrefix(name, dir+"/context/"); found && !strings.HasSuffix(name, "/") {
			all[rel] = content
		}
	}
	return all
}
