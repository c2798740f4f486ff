package process

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

func TestImageWithoutAShell(t *testing.T) {
	dir := t.TempDir()
	plain, own := filepath.Join(dir, "plain"), filepath.Join(dir, "own")
	for path, mode := range map[string]os.FileMode{plain: 0o644, own: 0o755} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	err := loginShell(&program{}, "", filepath.Join(dir, "absent"), dir, plain)
	if e := api.AsError(err); e.Kind != api.KindInvalid || e.Hint == "" {
		t.Errorf("without a shell: %+v", e)
	}
	p := &program{}
	if err := loginShell(p, filepath.Join(dir, "absent"), own); err != nil || p.path != own || p.argv[0] != "-own" {
		t.Errorf("%+v, %v", p, err)
	}
}
