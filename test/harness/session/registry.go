package session

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"banger/internal/image/oci/registrytest"
	"banger/test/harness"
)

// registryCommand has a script use a registry of its own, on this machine. Its
// address is in $NAME. Who has to log in is "me", with
// the password "secret".
//
//	registry start NAME [tls] [basic|bearer]  with tls, NAME.pem has its certificate
//	registry push NAME IMAGE KIND [TEXT]      busybox, with TEXT in /etc/greeting; foreign: for another machine
//	registry feature NAME IMAGE DIRECTORY     a feature of a dev container, of the files in a directory
//	registry fault NAME FAULT [N]             what it does from now on; none: nothing
//	registry asked NAME PART                  print how many requests had PART in their path since it was last asked
//	registry stop NAME
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "registry start|push|feature|fault|asked|stop NAME [ARGUMENT...]")
	w, name, rest := worldOf(ts), args[1], args[2:]
	if args[0] == "start" {
		startRegistry(ts, name, rest)
		return
	}
	r := w.registries[name]
	if r == nil {
		ts.Fatalf("registry %s does not exist", name)
	}
	switch {
	case args[0] == "push" && len(rest) >= 2:
		image, err := registryImage(rest[1], append(rest[2:], "hello")[0])
		ts.Check(err)
		ts.Check(r.Push(rest[0], image))
	case args[0] == "feature" && len(rest) == 2:
		ts.Check(pushFeature(r, rest[0], ts.MkAbs(rest[1])))
	case args[0] == "fault" && len(rest) >= 1:
		fault, err := registryFault(append(rest, "0"))
		ts.Check(err)
		r.Set(fault)
	case args[0] == "asked" && len(rest) == 1:
		fmt.Fprintln(ts.Stdout(), r.Asked(rest[0]))
		r.Requests()
	case args[0] == "stop" && len(rest) == 0:
		r.Close()
		delete(w.registries, name)
	default:
		ts.Fatalf("registry %q: no such request", args)
	}
}

func startRegistry(ts *testscript.TestScript, name string, how []string) {
	var o registrytest.Options
	for _, word := range how {
		switch word {
		case "tls":
			o.TLS = true
		case "basic", "bearer":
			o.User, o.Password, o.Bearer = "me", "secret", word == "bearer"
		default:
			ts.Fatalf("a registry is not %q", word)
		}
	}
	w, r := worldOf(ts), registrytest.Start(o)
	w.registries[name] = r
	ts.Defer(func() {
		if w.registries[name] == r {
			r.Close()
		}
	})
	ts.Setenv(name, r.Host)
	if o.TLS {
		ts.Check(os.WriteFile(ts.MkAbs(name+".pem"), r.CA(), 0o600))
	}
}

func pushFeature(r *registrytest.Registry, nameTag, dir string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
		return err
	}
	_, err := r.PushArtifact(nameTag, registrytest.Artifact{
		Config: "application/vnd.devcontainers", Layer: "application/vnd.devcontainers.layer.v1+tar", Data: b.Bytes(),
	})
	return err
}

// registryImage makes an image for the architecture of its kind, with text in a file and a variable.
func registryImage(kind, text string) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "banger-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	archive := filepath.Join(dir, "busybox.tar")
	if err := harness.BusyboxTar(archive); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		return nil, err
	}
	base, err := registrytest.Layer(data)
	if err != nil {
		return nil, err
	}
	top, err := registrytest.Files(map[string]string{"etc/greeting": text + "\n"})
	if err != nil {
		return nil, err
	}
	arch := map[string]string{"busybox": "", "foreign": "s390x"}
	if _, ok := arch[kind]; !ok {
		return nil, fmt.Errorf("no kind of image %q", kind)
	}
	return registrytest.Image(arch[kind], v1.Config{Env: []string{"PATH=/bin", "GREETING=" + text}, Cmd: []string{"/bin/sh"}}, base, top)
}

// registryFault is how a registry misbehaves.
func registryFault(args []string) (registrytest.Fault, error) {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	switch args[0] {
	case "none":
		return nil, nil
	case "limit": // for N seconds
		return registrytest.Answer(429, "", "Retry-After", strconv.Itoa(n)), nil
	case "error": // an answer of status N
		return registrytest.Answer(n, ""), nil
	case "cut": // each connection breaks after N bytes of a layer
		return registrytest.Blobs(registrytest.Cut(int64(n), 1<<30)), nil
	case "hang": // nothing comes after N bytes of a layer
		return registrytest.Blobs(registrytest.Hang(int64(n))), nil
	}
	return nil, fmt.Errorf("no fault %q", args[0])
}
