package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"banger/api"
	"banger/internal/daemon/relay"
	"banger/internal/guest/budget"
)

const (
	// headerTime bounds how long a client may take to send a request's header.
	headerTime = 10 * time.Second
	// idleTime is the time after which unused connections are closed.
	idleTime = 2 * time.Minute
	// finishTime bounds how long requests in progress may take when the daemon stops.
	finishTime = 2 * time.Second
	maxHeader  = 64 << 10
)

// Server answers HTTP requests. It listens before the services exist:
// requests wait until Open or Fail is called.
type Server struct {
	core    *core
	keyed   *keyed
	version string
	http    *http.Server

	opened   chan struct{} // closed by Open and Fail
	openOnce sync.Once
	err      error
}

// NewServer returns a server for env's daemon.
func NewServer(program Program, env Env) *Server {
	c := newCore(env)
	s := &Server{core: c, keyed: &keyed{core: c}, version: program.Version, opened: make(chan struct{})}
	s.http = &http.Server{
		Handler:           s.mux(s.handlers(program, env).routes()),
		ConnContext:       withPeer,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(env.Log.Handler(), slog.LevelDebug),
		// OPTIONS * is not a route.
		DisableGeneralOptionsHandler: true,
	}
	return s
}

func (s *Server) handlers(program Program, env Env) handlers {
	room := budget.OfDaemon(cmp.Or(env.Memory, budget.Memory()))
	return handlers{
		daemon:     daemonHandlers{core: s.core, program: program, paths: env.Paths, started: time.Now()},
		vms:        vmHandlers{s.core},
		observer:   observerHandlers{s.core},
		guests:     guestHandlers{s.core, relay.NewPlaces(room)},
		images:     imageHandlers{s.core, s.keyed},
		kernels:    kernelHandlers{s.core, s.keyed},
		snapshots:  snapshotHandlers{s.core, s.keyed},
		operations: operationHandlers{s.core},
	}
}

// Serve answers requests from l until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Open lets the waiting requests through.
func (s *Server) Open(svc *Services) {
	s.openOnce.Do(func() {
		s.core.svc = svc
		close(s.opened)
	})
}

// Fail answers the waiting requests with err.
func (s *Server) Fail(err error) {
	s.openOnce.Do(func() {
		s.err = err
		close(s.opened)
	})
}

// Stop asks the daemon to stop. It does not wait.
func (s *Server) Stop() { s.core.stop() }

// Stopping is closed when the daemon has been asked to stop.
func (s *Server) Stopping() <-chan struct{} { return s.core.stopping.Done() }

// Shutdown stops listening, cuts open-ended requests, lets the others finish for a short
// time, and returns when no request is left. Links to guests' agents are
// closed before streams are cut: a link that closes tells the agents to keep their
// sessions, a stream that is cut means that its client is gone.
func (s *Server) Shutdown() {
	s.Stop()
	s.Fail(errStopping)
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- s.http.Shutdown(ctx) }()
	if svc := s.core.svc; svc != nil && svc.Detach != nil {
		svc.Detach()
	}
	s.core.cutNow()
	if err := <-finished; err != nil {
		s.core.log.Warn("requests were cut short", "error", err)
		s.http.Close()
	}
	s.core.streams.Wait()
	s.core.rest.Stop()
}

// serve wraps a handler in the checks of every request.
func (s *Server) serve(allowed access, handle handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &writer{ResponseWriter: rw}
		w.Header().Set(api.VersionHeader, s.version)
		defer s.core.rest.Use()
		defer s.catch(w, r)
		err := s.admit(allowed, r)
		if err == nil {
			err = s.keyed.once(handle, w, r)
		}
		s.conclude(w, r, err)
	})
}

// admit decides whether a request reaches its handler, and waits until the services are open.
func (s *Server) admit(allowed access, r *http.Request) error {
	if err := errors.Join(checkPeer(r, allowed), checkShape(r)); err != nil {
		return err
	}
	select {
	case <-s.opened:
		return s.err
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
}

// conclude turns a handler's result into the end of the answer.
func (s *Server) conclude(w *writer, r *http.Request, err error) {
	switch {
	case err == nil || w.taken:
	case errors.Is(err, errStopping) || w.begun:
		panic(http.ErrAbortHandler)
	case r.Context().Err() != nil: // nobody reads the answer any more
	case s.core.stopping.Err() != nil && errors.Is(err, context.Canceled): // because the daemon stops, which says nothing about the request
		panic(http.ErrAbortHandler)
	default:
		if api.KindOf(err) == api.KindInternal {
			s.core.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		writeError(w, err)
	}
}

// catch makes a handler's panic an answer and a log entry: the daemon keeps running.
func (s *Server) catch(w *writer, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, _ := v.(error); !errors.Is(err, http.ErrAbortHandler) {
		s.core.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
		if !w.begun && !w.taken {
			writeError(w, api.Errorf(api.KindInternal, "a fault of banger itself: %v", v).
				WithHint("the daemon's log shows where; please report it"))
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// writer records whether the answer has begun.
type writer struct {
	http.ResponseWriter
	begun bool
	taken bool // hijacked
}

// WriteHeader begins the answer.
func (w *writer) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// Write also begins the answer.
func (w *writer) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
