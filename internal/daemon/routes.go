package daemon

import (
	"net/http"
	"path"
	"strings"

	"banger/api"
)

// handler answers one request. An error that it returns before it has written
// anything becomes the answer.
type handler func(w http.ResponseWriter, r *http.Request) error

// Route is one entry of the route table.
type Route struct {
	Method  string
	Pattern string // in the syntax of net/http's ServeMux
	access  access
	handle  handler
}

// Routes is the whole HTTP interface. api/openapi.yaml describes it; a test
// compares the two.
func Routes() []Route { return handlers{}.routes() }

// handlers answer the requests of all routes, by noun.
type handlers struct {
	daemon     daemonHandlers
	vms        vmHandlers
	guests     guestHandlers
	observer   observerHandlers
	images     imageHandlers
	kernels    kernelHandlers
	snapshots  snapshotHandlers
	operations operationHandlers
}

func (h handlers) routes() []Route {
	return []Route{
		{"GET", "/v1/daemon", owner, h.daemon.status},
		{"POST", "/v1/daemon/stop", owner, h.daemon.stop},
		{"GET", "/v1/doctor", owner, h.daemon.doctor},
		{"GET", "/v1/leaks", owner, h.daemon.leaks},
		{"GET", "/v1/config", owner, h.daemon.config},

		{"GET", "/v1/stats", owner, h.observer.stats},

		{"GET", "/v1/vms", owner, h.vms.list},
		{"POST", "/v1/vms", owner, h.vms.create},
		{"POST", "/v1/vms/prune", owner, h.vms.prune},
		{"GET", "/v1/vms/{vm}", owner, h.vms.show},
		{"DELETE", "/v1/vms/{vm}", owner, h.vms.delete},
		{"POST", "/v1/vms/{vm}/start", owner, h.vms.start},
		{"POST", "/v1/vms/{vm}/stop", owner, h.vms.stop},
		{"POST", "/v1/vms/{vm}/restart", owner, h.vms.restart},
		{"POST", "/v1/vms/{vm}/kill", owner, h.vms.kill},
		{"POST", "/v1/vms/{vm}/signal", owner, h.vms.signal},
		{"POST", "/v1/vms/{vm}/pause", owner, h.vms.pause},
		{"POST", "/v1/vms/{vm}/resume", owner, h.vms.resume},
		{"POST", "/v1/vms/{vm}/suspend", owner, h.vms.suspend},
		{"POST", "/v1/vms/{vm}/snapshot", owner, h.snapshots.create},
		{"POST", "/v1/vms/{vm}/commit", owner, h.vms.commit},
		{"POST", "/v1/vms/{vm}/rename", owner, h.vms.rename},
		{"POST", "/v1/vms/{vm}/set", owner, h.vms.set},
		{"POST", "/v1/vms/{vm}/publish", owner, h.vms.publish},
		{"GET", "/v1/vms/{vm}/health", owner, h.observer.health},
		{"GET", "/v1/vms/{vm}/wait", owner, h.vms.wait},
		{"GET", "/v1/vms/{vm}/logs", owner, h.guests.logs},
		{"POST", "/v1/vms/{vm}/keep", owner, h.guests.keep},
		{"GET", "/v1/vms/{vm}/sessions", owner, h.guests.sessions},
		{"POST", "/v1/vms/{vm}/sync", owner, h.guests.sync},
		{"POST", "/v1/vms/{vm}/stream", owner, h.guests.stream},
		{"GET", "/v1/vms/{vm}/ssh", owner, h.guests.ssh},

		{"GET", "/v1/snapshots", owner, h.snapshots.list},
		{"GET", "/v1/snapshots/{snapshot}", owner, h.snapshots.show},
		{"DELETE", "/v1/snapshots/{snapshot}", owner, h.snapshots.delete},

		{"GET", "/v1/images", owner, h.images.list},
		{"POST", "/v1/images/pull", owner, h.images.pull},
		{"POST", "/v1/images/import", owner, h.images.importImage},
		{"POST", "/v1/images/register", owner, h.images.register},
		{"POST", "/v1/images/promote", owner, h.images.promote},
		{"POST", "/v1/images/tag", owner, h.images.tag},
		{"POST", "/v1/images/prune", owner, h.images.prune},
		{"GET", "/v1/prunable", owner, h.images.prunable},
		{"GET", "/v1/images/{image}", owner, h.images.show},
		{"DELETE", "/v1/images/{image}", owner, h.images.delete},
		{"GET", "/v1/images/{image}/history", owner, h.images.history},
		{"GET", "/v1/images/{image}/export", owner, h.images.export},

		{"GET", "/v1/kernels", owner, h.kernels.list},
		{"GET", "/v1/available-kernels", owner, h.kernels.available},
		{"POST", "/v1/kernels/pull", owner, h.kernels.pull},
		{"POST", "/v1/kernels/import", owner, h.kernels.importKernel},
		{"GET", "/v1/kernels/{kernel}", owner, h.kernels.show},
		{"DELETE", "/v1/kernels/{kernel}", owner, h.kernels.delete},

		{"GET", "/v1/operations", owner, h.operations.list},
		{"GET", "/v1/operations/{id}", owner, h.operations.show},
		{"GET", "/v1/operations/{id}/events", owner, h.operations.events},
		{"DELETE", "/v1/operations/{id}", owner, h.operations.cancel},
	}
}

// mux builds the request multiplexer from a route table. Unknown paths and
// methods get the same JSON errors as everything else.
func (s *Server) mux(routes []Route) http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.Handle(route.Method+" "+route.Pattern, s.serve(route.access, route.handle))
	}
	unknown := s.serve(owner, unknownRoute(mux))
	mux.Handle("/", unknown)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ServeMux would redirect, which is not a JSON error; banger's clients do not
		// send such a path.
		if !clean(r) {
			unknown.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unknownRoute answers requests without a route: with the methods that the path
// does answer, if there are any.
func unknownRoute(mux *http.ServeMux) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPost} {
			other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(other); clean(r) && strings.HasPrefix(pattern, method+" ") {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return api.Errorf(api.KindNotFound, "no such path: %.200q", r.URL.Path).
				WithHint("api/openapi.yaml lists the paths of version %d", api.Version)
		}
		list := strings.Join(allowed, ", ")
		w.Header().Set("Allow", list)
		writeJSON(w, http.StatusMethodNotAllowed,
			api.Errorf(api.KindInvalid, "%s answers %s, not %s", r.URL.Path, list, r.Method))
		return nil
	}
}

func clean(r *http.Request) bool {
	p := r.URL.EscapedPath()
	return p == path.Clean(p)
}
