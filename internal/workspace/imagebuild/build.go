package imagebuild

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"banger/api"
)

// Build is one build.
type Build struct {
	Source     *Source
	Registries Registries
	Dir        string // of this host: where the archive is written
	// Show receives the end of the program's output if it fails. It may have control characters.
	Show   io.Writer
	Report api.Report // or nil
}

// Run builds the image in a guest, and returns the path of an OCI archive on this host, which the caller
// removes. Whatever is in it is the guest's word, as that of any archive from elsewhere.
func (b Build) Run(ctx context.Context, g Guest) (archive string, err error) {
	if b.Report == nil {
		b.Report = func(api.Progress) {}
	}
	if err := b.send(ctx, g); err != nil {
		return "", err
	}
	if err := b.build(ctx, g); err != nil {
		return "", err
	}
	return fetch(ctx, g, b.Dir, b.Report)
}

// send sends the context, and what the program reads beside it.
func (b Build) send(ctx context.Context, g Guest) error {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := b.pack(ctx, w)
		w.CloseWithError(err)
		packed <- err
	}()
	err := g.Put(ctx, "/", r, nil)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends the packing, if the guest has stopped reading
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		err = packErr
	}
	return err
}

// pack writes two tar streams as one: the first has no end, so that the other continues it.
func (b Build) pack(ctx context.Context, w io.Writer) error {
	base := strings.TrimPrefix(dir, "/")
	own := tar.NewWriter(w)
	put := func(h tar.Header, content []byte) error {
		h.ModTime, h.Size = time.Unix(0, 0), int64(len(content))
		err := own.WriteHeader(&h)
		if err == nil {
			_, err = own.Write(content)
		}
		return err
	}
	err := errors.Join(
		put(tar.Header{Typeflag: tar.TypeDir, Name: base + "/", Mode: 0o700}, nil),
		put(tar.Header{Typeflag: tar.TypeDir, Name: base + "/tmp/", Mode: 0o700}, nil))
	for name, content := range map[string][]byte{
		"Dockerfile": b.Source.dockerfile, "ignore": b.Source.ignore, "registries.conf": b.Registries.file(), "ca.pem": b.Registries.CA,
	} {
		err = errors.Join(err, put(tar.Header{Typeflag: tar.TypeReg, Name: path.Join(base, name), Mode: 0o600}, content))
	}
	// A directory that the context has nothing of is one all the same.
	err = errors.Join(err, put(tar.Header{Typeflag: tar.TypeDir, Name: path.Join(base, "context", b.Source.Context) + "/", Mode: 0o755}, nil), own.Flush())
	if err != nil {
		return err
	}
	var total, done int64
	for _, f := range b.Source.files {
		total += f.Size
	}
	return b.Source.pack(ctx, w, path.Join(base, "context"), func(_ string, n int64) {
		done += n
		b.Report(api.Progress{Step: "context", Message: "sending the context of the Dockerfile", Done: min(done, total), Total: total, Unit: "bytes"})
	})
}

// script builds and packs. Its arguments are those of `buildah build`; nothing in them is a command.
// Containers of a build share the guest's network and kernel: the guest is what keeps them in. Where
// the kernel has no overlay file system, each layer is a copy.
const script = `set -eu
command -v buildah >/dev/null || exit ` + noProgramText + `
export CONTAINERS_REGISTRIES_CONF="$PWD/registries.conf" TMPDIR="$PWD/tmp"
[ ! -s ca.pem ] || export SSL_CERT_FILE="$PWD/ca.pem"
modprobe overlay 2>/dev/null || :
driver=vfs
! grep -qw overlay /proc/filesystems || driver=overlay
run() { buildah --storage-driver "$driver" --root "$PWD/storage" --runroot "$PWD/run" "$@"; }
run build --isolation chroot --format oci --ignorefile ignore --file Dockerfile --tag localhost/result "$@"
rm -f result.tar
run push --quiet localhost/result oci-archive:result.tar
`

// noProgram is the exit status of script if the guest lacks the program.
const (
	noProgram     = 93
	noProgramText = "93"
)

func (b Build) build(ctx context.Context, g Guest) error {
	argv := []string{"/bin/sh", "-c", script, "build"}
	for _, name := range slices.Sorted(maps.Keys(b.Source.Args)) {
		argv = append(argv, "--build-arg="+name+"="+b.Source.Args[name])
	}
	if b.Source.Target != "" {
		argv = append(argv, "--target="+b.Source.Target)
	}
	argv = append(argv, "context/"+b.Source.Context)
	out := &output{report: b.Report}
	b.Report(api.Progress{Step: "build", Message: "building the image of " + b.Source.Dockerfile})
	code, err := g.Run(ctx, api.Exec{Argv: argv, Dir: dir}, out)
	switch {
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "cancelled: %w", context.Cause(ctx))
	case err != nil:
		return err
	case code == noProgram:
		return api.Errorf(api.KindInvalid, "cannot build the image of %s: the image of the builder VM has no program buildah", b.Source.Dockerfile).
			WithHint("the setting builder_image names an image that has it: banger config show")
	case code != 0:
		return b.failed(code, out.last())
	}
	return nil
}

// failed explains a build that failed, after the end of its output.
func (b Build) failed(code int, tail []byte) error {
	_, err := b.Show.Write(tail)
	return errors.Join(err, api.Errorf(api.KindInvalid, "cannot build the image of %s: buildah ended with exit status %d", b.Source.Dockerfile, code).
		WithHint("%s", hintFor(string(tail))))
}

// hintFor returns what to type next, if the end of the output is one that people often meet. It is only
// advice: the texts are those of Go's net package and of registries, and may change.
func hintFor(tail string) string {
	for _, known := range []struct{ text, hint string }{
		{"network is unreachable", "the builder VM has no way out: banger up --network nat   or: the setting network"},
		{"dial tcp", "the builder VM cannot reach the registry: banger config show   has its network, and registry_mirrors"},
		{"unauthorized", "base images that need a password cannot be used: banger image pull NAME, and image in place of the Dockerfile"},
		{"Error: building at STEP \"COPY", "files that git or .dockerignore ignores are not in the context: banger up --include-ignored PATTERN"},
	} {
		if strings.Contains(tail, known.text) {
			return known.hint
		}
	}
	return "change the Dockerfile, and run the command again"
}
