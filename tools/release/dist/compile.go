package dist

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"banger/internal/host/execx"
	"banger/internal/host/fsx"
)

// Compilation is one run of `go build`.
type Compilation struct {
	Source   string // the checkout
	Out      string // the directory for the programs
	Arch     string
	Programs []string
	Flags    string // for the linker
	GoCache  string
}

// Run builds the programs. It sets all environment variables of the Go tool that affect
// the result; the Go version is the one that this tool was built with.
func (c Compilation) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fsx.DiskError("build", err)
	}
	out, err := filepath.Abs(c.Out)
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", c.Flags, "-o", out + "/"}
	for _, p := range c.Programs {
		args = append(args, "./cmd/"+p)
	}
	env := []string{
		"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + c.Arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GODEBUG=", "GOTOOLCHAIN=" + runtime.Version(),
	}
	if c.GoCache != "" {
		env = append(env, "GOCACHE="+c.GoCache)
	}
	return execx.Run(ctx, execx.Cmd{Name: "go", Args: args, Dir: c.Source, Env: env})
}
