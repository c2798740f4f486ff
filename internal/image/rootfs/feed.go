package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"banger/api"
	"banger/internal/host/userns"
	"banger/internal/image/oci"
)

// Unpack unpacks the layers into root, in a job that has the right to. The bytes
// are verified here on their way to the job.
func Unpack(ctx context.Context, root string, spec Spec, layers []oci.Layer, report api.Report) (Summary, error) {
	for _, l := range layers {
		spec.DiffIDs = append(spec.DiffIDs, l.DiffID)
		spec.Total += max(l.Size, 0)
	}
	args, err := json.Marshal(spec)
	if err != nil {
		return Summary{}, api.Errorf(api.KindInternal, "cannot unpack: %w", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		return Summary{}, api.Errorf(api.KindInternal, "cannot unpack: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fed := make(chan error, 1)
	go func() { fed <- errors.Join(feed(ctx, out, layers), out.Close()) }()
	result, err := Run(ctx, report, userns.Call{Job: jobUnpack, Args: []string{root, string(args), deferredFile(root)}, Stdin: in})
	in.Close() // makes the feeder fail, as the job has ended
	if bad := <-fed; bad != nil && ctx.Err() == nil {
		return Summary{}, bad // bad is why the job has failed
	}
	if err != nil || result.Summary == nil {
		return Summary{}, err
	}
	return *result.Summary, nil
}

// feed writes the layers to w. If the job stops reading, feed still finds out whether
// the current layer is what it should be: a wrong download must be reported as such,
// and not as a bad archive.
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

// drain reads the rest of a layer that is not unpacked any more, if that tells whether
// the layer is what it should be.
func drain(ctx context.Context, r io.Reader, l oci.Layer, buffer []byte) error {
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
			if err := drain(ctx, r, l, buffer); err != nil {
				return err
			}
			return gone
		}
		if err == io.EOF {
			return frames.end()
		}
	}
}
