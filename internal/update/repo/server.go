package repo

import (
	"context"
	"net/http"
	"net/url"

	"banger/api"
	"banger/internal/fetch"
)

// maxRedirects is how many redirects are followed; all must stay on the host.
const maxRedirects = 3

// parseURL accepts https, and http to this machine only.
func parseURL(s string) (*url.URL, error) {
	u, err := fetch.ParseURL(s)
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot use repository %q: %w", s, err).
			WithHint("give a URL such as https://example.com/banger")
	}
	return u, nil
}

// checkRedirect refuses redirects to another host.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return refuse("cannot ask the repository: it redirects to another place, %s://%s", req.URL.Scheme, req.URL.Host).
			WithHint("if the repository has moved, give its new URL with --repository")
	}
	if len(via) > maxRedirects {
		return refuse("cannot ask the repository: it redirects more than %d times", maxRedirects)
	}
	return nil
}

// get requests a file below the repository's URL.
func (r *Repository) get(ctx context.Context, name string) (*fetch.Body, error) {
	return r.client.Get(ctx, r.base.JoinPath(name).String())
}

// fetch downloads a small file into memory.
func (r *Repository) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := r.client.Bytes(ctx, r.base.JoinPath(name).String(), limit)
	if err == nil && int64(len(data)) > limit {
		err = refuse("cannot use the repository's %s: it is longer than %d bytes", name, limit)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
