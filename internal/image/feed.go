package image

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"banger/api"
	"banger/internal/oci"
	"banger/internal/userns"
)

// unpackInto unpacks the layers into root, in the job that may. The bytes are
// verified here while they travel there.
func unpackInto(ctx context.Context, root string, spec unpackSpec, layers []oci.Layer, report api.Report) (summary, error) {
	for _, l := range layers {
		spec.DiffIDs = append(spec.DiffIDs, l.DiffID)
		spec.Total += max(l.Size, 0)
	}
	args, err := json.Marshal(spec)
	if err != nil {
		return summary{}, api.Errorf(api.KindInternal, "cannot unpack: %w", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		return summary{}, api.Errorf(api.KindInternal, "cannot unpack: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fed := make(chan error, 1)
	go func() { fed <- errors.Join(feed(ctx, out, layers), out.Close()) }()
	told, err := job(ctx, report, userns.Call{Job: jobUnpack, Args: []string{root, string(args), owedBeside(root)}, Stdin: in})
	in.Close() // what feeds a job that has ended fails
	if bad := <-fed; bad != nil && ctx.Err() == nil {
		return summary{}, bad // it is why the job has failed
	}
	if err != nil || told.Summary == nil {
		return summary{}, err
	}
	return *told.Summary, nil
}

// feed writes the layers to w. When nobody reads them any more it still finds
// out whether the layer that was being read is what it should be: what is no
// archive because its bytes are not those that were asked for is told as that.
func feed(ctx context.Context, w io.Writer, layers []oci.Layer) error {
	for i, l := range layers {
		if err := feedOne(ctx, w, l); err != nil {
			var pipe *os.PathError
			if errors.As(err, &pipe) && pipe.Op == "write" {
				return nil
			}
			return api.Errorf(api.KindOf(err), "layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return nil
}

// readOut reads the rest of a layer that nobody unpacks any more, where that tells
// whether it is what it should be.
func readOut(ctx context.Context, r io.Reader, l oci.Layer, buffer []byte) error {
	for l.Digest != "" && ctx.Err() == nil {
		switch _, err := r.Read(buffer); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
	return nil
}

func feedOne(ctx context.Context, w io.Writer, l oci.Layer) error {
	r, err := l.OpenVerified(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	frames, buffer := frameWriter{w}, make([]byte, maxPiece)
	for {
		n, err := r.Read(buffer)
		if err != nil && err != io.EOF {
			return err
		}
		if _, gone := frames.Write(buffer[:n]); gone != nil {
			if err := readOut(ctx, r, l, buffer); err != nil {
				return err
			}
			return gone
		}
		if err == io.EOF {
			return frames.end()
		}
	}
}
