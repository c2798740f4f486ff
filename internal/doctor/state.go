package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"banger/internal/logging"
)

func state() []Check {
	return []Check{
		settingsCheck(),
		storeCheck("banger daemon run   (reports the problem and what to do)"),
		stagingCheck("banger daemon stop   (the next command starts it again; sandboxes keep running)"),
		{
			Name: "daemon log", Run: log,
			Why: "it contains errors of background work",
		},
	}
}

func settingsCheck() Check {
	return Check{
		Name: "settings", Run: settings, Fix: "banger config show",
		Why: "while they cannot be read, no VM can be created and the daemon does not start",
	}
}

func settings(_ context.Context, h Host) Finding {
	if err := h.Settings(); err != nil {
		return fail(err.Error())
	}
	return ok(h.Paths.ConfigFile())
}

func storeCheck(fix string) Check {
	return Check{Name: "store", Run: store, Why: "it is the database of sandboxes", Fix: fix}
}

func stagingCheck(fix string) Check {
	return Check{
		Name: "staging", Run: staging, Fix: fix,
		Why: "an interrupted build of an image or kernel leaves files behind until the daemon starts again",
	}
}

// magic is the start of every SQLite database (the file format's section 1.3.1).
const magic = "SQLite format 3\x00"

func store(_ context.Context, h Host) Finding {
	data, err := h.ReadFile(h.Paths.Store())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ok("none yet")
	case err != nil:
		return fail("cannot be read: " + err.Error())
	case len(data) > 0 && !bytes.HasPrefix(data, []byte(magic)):
		return fail(h.Paths.Store() + " is damaged: it is not an SQLite database")
	}
	return ok(h.Paths.Store())
}

func staging(_ context.Context, h Host) Finding {
	entries, err := h.ReadDir(h.Paths.Staging())
	if err != nil || len(entries) == 0 {
		return ok("no leftovers")
	}
	return warn(fmt.Sprintf("%d unfinished images or kernels; some may be in progress", len(entries)))
}

// log checks what the newest daemon logged since its last start.
func log(_ context.Context, h Host) Finding {
	data, err := h.ReadFile(h.Paths.DaemonLog())
	if err != nil {
		return ok("none yet")
	}
	ready := []byte("msg=ready")
	if !bytes.Contains(data, ready) { // the log was put aside since
		if old, err := h.ReadFile(logging.Old(h.Paths.DaemonLog())); err == nil {
			data = append(old, data...)
		}
	}
	if at := bytes.LastIndex(data, ready); at >= 0 {
		data = data[at:]
	}
	errorsSeen, last := 0, ""
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "level=ERROR") {
			errorsSeen++
			last = strings.TrimSpace(line)
		}
	}
	if errorsSeen == 0 {
		return ok("no errors since the daemon started")
	}
	if len(last) > 200 {
		last = last[:200] + "…"
	}
	f := warn(fmt.Sprintf("%d errors since the daemon started; the newest: %s", errorsSeen, last))
	f.Fix = "less " + h.Paths.DaemonLog()
	return f
}
