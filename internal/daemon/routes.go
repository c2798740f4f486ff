package daemon

import (
	"net/http"
	"path"
	"strings"

	"banger/api"
)

// handler answers one request. An error that it returns before it has written
// anything becomes the answer.
type handler func(s *Server, w http.ResponseWriter, r *http.Request) error

// Route is one entry of the route table.
type Route struct {
	Method  string
	Pattern string // in the syntax of net/http's ServeMux
	access  access
	handle  handler
}

// Routes is the whole HTTP interface. api/openapi.yaml describes it; a test
// compares the two.
func Routes() []Route {
	return []Route{
		{"GET", "/v1/daemon", owner, (*Server).getDaemon},
		{"POST", "/v1/daemon/stop", owner, (*Server).stopDaemon},
		{"GET", "/v1/doctor", owner, (*Server).getDoctor},
		{"GET", "/v1/leaks", owner, (*Server).getLeaks},
		{"GET", "/v1/config", owner, (*Server).getConfig},

		{"GET", "/v1/vms", owner, (*Server).listVMs},
		{"POST", "/v1/vms", owner, (*Server).createVM},
		{"POST", "/v1/vms/prune", owner, (*Server).pruneVMs},
		{"GET", "/v1/vms/{vm}", owner, (*Server).showVM},
		{"DELETE", "/v1/vms/{vm}", owner, (*Server).deleteVM},
		{"POST", "/v1/vms/{vm}/start", owner, (*Server).startVM},
		{"POST", "/v1/vms/{vm}/stop", owner, (*Server).stopVM},
		{"POST", "/v1/vms/{vm}/restart", owner, (*Server).restartVM},
		{"POST", "/v1/vms/{vm}/kill", owner, (*Server).killVM},
		{"POST", "/v1/vms/{vm}/commit", owner, (*Server).commitVM},
		{"POST", "/v1/vms/{vm}/rename", owner, (*Server).renameVM},
		{"POST", "/v1/vms/{vm}/set", owner, (*Server).setVM},
		{"POST", "/v1/vms/{vm}/publish", owner, (*Server).publishVM},
		{"GET", "/v1/vms/{vm}/wait", owner, (*Server).waitVM},
		{"GET", "/v1/vms/{vm}/logs", owner, (*Server).logsVM},
		{"POST", "/v1/vms/{vm}/keep", owner, (*Server).keepVM},
		{"GET", "/v1/vms/{vm}/sessions", owner, (*Server).listSessions},
		{"POST", "/v1/vms/{vm}/stream", owner, (*Server).streamVM},
		{"GET", "/v1/vms/{vm}/ssh", owner, (*Server).sshVM},

		{"GET", "/v1/images", owner, (*Server).listImages},
		{"POST", "/v1/images/pull", owner, (*Server).pullImage},
		{"POST", "/v1/images/import", owner, (*Server).importImage},
		{"POST", "/v1/images/tag", owner, (*Server).tagImage},
		{"POST", "/v1/images/prune", owner, (*Server).pruneImages},
		{"GET", "/v1/images/{image}", owner, (*Server).showImage},
		{"DELETE", "/v1/images/{image}", owner, (*Server).deleteImage},
		{"GET", "/v1/images/{image}/history", owner, (*Server).imageHistory},
		{"GET", "/v1/images/{image}/export", owner, (*Server).exportImage},

		{"GET", "/v1/kernels", owner, (*Server).listKernels},
		{"POST", "/v1/kernels/pull", owner, (*Server).pullKernel},
		{"POST", "/v1/kernels/import", owner, (*Server).importKernel},
		{"GET", "/v1/kernels/{kernel}", owner, (*Server).showKernel},
		{"DELETE", "/v1/kernels/{kernel}", owner, (*Server).deleteKernel},

		{"GET", "/v1/operations", owner, (*Server).listOperations},
		{"GET", "/v1/operations/{id}", owner, (*Server).showOperation},
		{"GET", "/v1/operations/{id}/events", owner, (*Server).followOperation},
		{"DELETE", "/v1/operations/{id}", owner, (*Server).cancelOperation},
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
	return func(_ *Server, w http.ResponseWriter, r *http.Request) error {
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
