package daemon

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"banger/api"
	"banger/internal/guest/budget"
	"banger/internal/op"
)

// core is what the handlers of all nouns share.
type core struct {
	*lifetime
	log  *slog.Logger
	hold string    // the file that exists while an update is being checked
	svc  *Services // set by Server.Open, before any handler runs
	rest budget.Rest
}

func newCore(env Env) *core {
	return &core{lifetime: newLifetime(), log: env.Log, hold: env.Paths.Hold()}
}

// follow answers with an operation's events, a line each as they come. The
// operation continues when the client disconnects.
func (c *core) follow(w http.ResponseWriter, r *http.Request, o *op.Op, err error) error {
	if err != nil {
		return err
	}
	recorded(r.Context())
	ctx, cancel := c.untilStop(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	begun := false
	defer trimMemory()
	return o.Follow(ctx, func(e api.Event) error {
		if !begun && (e.Operation == nil || e.Operation.Status != api.OpRunning) {
			// It ended before anybody followed it: the first line must be the usual one.
			if err := lines.Encode(api.Event{Operation: asBegun(o.Snapshot())}); err != nil {
				return err
			}
		}
		begun = true
		if err := lines.Encode(e); err != nil {
			return err
		}
		return out.Flush()
	})
}

// asBegun returns an operation's state before it ended.
func asBegun(row api.Operation) *api.Operation {
	row.Status, row.Error, row.FinishedAt = api.OpRunning, nil, nil
	return &row
}
