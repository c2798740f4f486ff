package client

import (
	"context"
	"net"
	"net/http"

	"banger/api"
)

// Options say how a client reaches its daemon, and what it reports beside the answers.
type Options struct {
	// Socket is the path of the daemon's socket. It may be longer than a socket address
	// can be.
	Socket string
	// Dial connects to the daemon; nil: to Socket. Errors of type *api.Error reach the
	// caller unchanged.
	Dial func(context.Context) (net.Conn, error)
	// Log is the path of the daemon's log for hints in errors, if it is known.
	Log string
	// OnOtherVersion, unless nil, is called once if the daemon's version is not Version.
	OnOtherVersion func(daemon string)
	// Version is the version to compare with the daemon's.
	Version string
	// OnUnresponsive, unless nil, is called if a guest has not answered a session for some
	// seconds. The session continues to wait.
	OnUnresponsive func(vm string)
}

// Client talks to one daemon. It is safe for concurrent use.
type Client struct {
	t            *transport
	unresponsive func(vm string)
}

// New returns a client of the daemon that listens on a socket.
func New(socket string) *Client { return With(Options{Socket: socket}) }

// With returns a client with options.
func With(o Options) *Client { return &Client{t: newTransport(o), unresponsive: o.OnUnresponsive} }

// VMs returns the requests about VMs.
func (c *Client) VMs() VMs {
	return VMs{resource[api.VM]{c.t, "/v1/vms", func(r api.Result) *api.VM { return r.VM }}}
}

// Images returns the requests about the cache of images.
func (c *Client) Images() Images { return Images{imagesOf(c.t)} }

// Kernels returns the requests about the cache of kernels.
func (c *Client) Kernels() Kernels {
	return Kernels{resource[api.Kernel]{c.t, "/v1/kernels", func(r api.Result) *api.Kernel { return r.Kernel }}}
}

// Snapshots returns the requests about snapshots of VMs.
func (c *Client) Snapshots() Snapshots {
	return Snapshots{resource[api.Snapshot]{c.t, "/v1/snapshots", func(r api.Result) *api.Snapshot { return r.Snapshot }}}
}

// Operations returns the requests about work that outlives its request.
func (c *Client) Operations() Operations { return Operations{c.t} }

// Daemon returns the requests about the daemon itself and its host.
func (c *Client) Daemon() Daemon { return Daemon{c.t} }

func imagesOf(t *transport) resource[api.Image] {
	return resource[api.Image]{t, "/v1/images", func(r api.Result) *api.Image { return r.Image }}
}

// resource is one kind of things that the daemon stores, below a path of its own.
type resource[T any] struct {
	t    *transport
	path string
	made func(api.Result) *T // what an operation has made or changed; nil: nothing of this kind
}

// show returns the thing of a name or id.
func (r resource[T]) show(ctx context.Context, ref string) (v T, err error) {
	err = r.t.get(ctx, at(r.path, ref), &v)
	return v, err
}

// change makes a request that is answered at once.
func (r resource[T]) change(ctx context.Context, path string, in any) (v T, err error) {
	err = r.t.do(ctx, http.MethodPost, path, in, &v)
	return v, err
}

// operate makes a request that takes long.
func (r resource[T]) operate(ctx context.Context, path string, in any, report api.Report) (v T, err error) {
	result, err := r.t.operate(ctx, http.MethodPost, path, in, report)
	if made := r.made(result); err == nil && made != nil {
		v = *made
	}
	return v, err
}

// remove removes a thing, or one of its names.
func (r resource[T]) remove(ctx context.Context, ref string) error {
	return r.t.do(ctx, http.MethodDelete, at(r.path, ref), nil, nil)
}

// prune removes what nothing uses.
func (r resource[T]) prune(ctx context.Context, report api.Report) (api.Pruned, error) {
	result, err := r.t.operate(ctx, http.MethodPost, r.path+"/prune", nil, report)
	if err != nil || result.Pruned == nil {
		return api.Pruned{}, err
	}
	return *result.Pruned, nil
}
