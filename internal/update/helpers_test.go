package update

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"banger/internal/host/fsx"
)

type ctx = context.Context

func noContext() ctx { return context.Background() }

func says(version string) func(ctx, string) (string, error) {
	return func(ctx, string) (string, error) { return version, nil }
}

func relinkTo(fx *fixture, version string) {
	if err := fsx.Relink("versions/"+version, fx.Prefix+"/current"); err != nil {
		panic(err)
	}
}

// script makes a directory with a program that is a shell script.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
