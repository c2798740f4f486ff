package session

import (
	"archive/tar"
	"bytes"
	"os"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/internal/host/execx"
	"banger/test/harness"
)

// mktarCommand makes archives of root file systems:
//
//	busybox   all that a guest needs, in one program
//	echo      busybox as /bin/echo alone
//	noshell   one program, which is not a shell
//	outside   a file that would land beside the root
//	cut       busybox, cut off in the middle
//
// and of images, which are busybox and a layer of changes:
//
//	saved     as docker save writes it
//	layout    an OCI layout, for this machine and another
//	foreign   an OCI layout for another machine alone
//	lying     an OCI layout whose second layer is not what its manifest says
func mktarCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "mktar FILE KIND")
	path := ts.MkAbs(args[0])
	switch args[1] {
	case "busybox":
		ts.Check(harness.BusyboxTar(path))
	case "cut":
		ts.Check(harness.BusyboxTar(path))
		ts.Check(os.Truncate(path, 300<<10))
	case "noshell":
		ts.Check(writeTar(path, map[string]string{"bin/hello": "no program at all\n"}))
	case "echo":
		program, err := execx.LookPath("busybox", "busybox-static")
		ts.Check(err)
		data, err := os.ReadFile(program)
		ts.Check(err)
		ts.Check(writeTar(path, map[string]string{"bin/echo": string(data)}))
	case "outside":
		ts.Check(writeTar(path, map[string]string{"../outside": "no\n"}))
	case "saved", "layout", "foreign", "lying":
		ts.Check(imageTar(path, args[1]))
	default:
		ts.Fatalf("no kind of archive %q", args[1])
	}
}

func imageTar(path, kind string) error {
	here, err := harness.BusyboxImage(runtime.GOARCH)
	if err != nil {
		return err
	}
	there, err := harness.BusyboxImage("riscv64")
	if err != nil {
		return err
	}
	files := map[string][][2]string{
		"saved": here.Saved(), "layout": harness.Layout(there, here), "foreign": harness.Layout(there), "lying": harness.Layout(here),
	}[kind]
	if kind == "lying" {
		files[2][1] = strings.Replace(files[2][1], "layers", "liars!", 1)
	}
	data, err := harness.Tar(files)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func writeTar(path string, files map[string]string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := addFile(w, name, []byte(text)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
