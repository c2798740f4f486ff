package update

import (
	"context"

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
