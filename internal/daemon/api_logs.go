package daemon

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net/http"
	"os"
	"strconv"

	"banger/api"
	"banger/internal/host/console"
)

// logs answers with the output of the guest's console, byte for byte: whoever
// shows it on a terminal makes it harmless.
func (h guestHandlers) logs(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "follow", "tail", "from")
	if err != nil {
		return err
	}
	follow, err := yesNo(values, "follow")
	if err != nil {
		return err
	}
	lines, err := count(values, "tail", math.MaxInt)
	if err != nil {
		return err
	}
	resume, err := count(values, "from", -1)
	if err != nil {
		return err
	}
	path, done, err := h.svc.VMs.ConsolePath(r.Context(), r.PathValue("vm"))
	if err != nil {
		return err
	}
	if resume >= 0 && follow {
		begin(w, int64(resume))
		return h.followLog(w, r, path, int64(resume), done)
	}
	from := sizeOf(path)
	data, err := console.Tail(path, lines)
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot read the console's log: %w", err)
	}
	from = max(0, from-int64(len(data)))
	begin(w, from)
	if !follow {
		_, err = w.Write(data)
		return err
	}
	// Output that was added since its size was read is included rather than missed.
	return h.followLog(w, r, path, from, done)
}

// begin begins the answer with bytes of the log.
func begin(w http.ResponseWriter, offset int64) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set(api.LogOffsetHeader, strconv.FormatInt(offset, 10))
}

// followLog copies the log until no more output follows.
func (h guestHandlers) followLog(w http.ResponseWriter, r *http.Request, path string, from int64, done <-chan struct{}) error {
	ctx, cancel := h.untilStop(r.Context())
	defer cancel()
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	out := flusher{w, http.NewResponseController(w)}
	if _, err := out.Write(nil); err != nil {
		return err
	}
	err := console.Follow(ctx, path, from, out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	return err
}

// flusher sends every write immediately.
type flusher struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
}

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.ctrl.Flush()
	}
	return n, err
}

func sizeOf(path string) int64 {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
