package session

import (
	"archive/tar"
	"bytes"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/internal/execx"
	"banger/test/harness"
)

// mktarCommand makes archives of root file systems:
//
//	busybox   all that a guest needs, in one program
//	echo      busybox as /bin/echo alone
//	noshell   one program, which is no shell
//	outside   a file that would land beside the root
//	cut       busybox, cut off in the middle
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
	default:
		ts.Fatalf("no kind of archive %q", args[1])
	}
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
