package cli

import (
	"archive/tar"
	"bytes"
	"context"

	"banger/api"
	"banger/client"
)

// forgetMachine has the next start of a guest with systemd make another machine id (machine-id(5)):
// VMs of one image are different machines. The guests of banger's own init have none, or that of the image.
func forgetMachine(ctx context.Context, g *client.Guest, vm api.VM) error {
	if vm.Init != api.InitSystemd {
		return nil
	}
	has := false
	err := g.Fetch(ctx, "/etc", []string{"machine-id"}, func(f client.FetchedFile) error {
		has = f.Err == nil && f.Type == client.TreeFile
		return nil
	})
	if err != nil || !has {
		return err
	}
	var empty bytes.Buffer
	w := tar.NewWriter(&empty)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/machine-id", Mode: 0o444}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return g.Put(ctx, "/", &empty, nil)
}
