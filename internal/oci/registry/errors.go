package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"banger/api"
)

// errStalled is the cause of a request that was given up because nothing came.
var errStalled = errors.New("it does not answer any more")

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the pull was stopped: %w", context.Cause(ctx))
}

// loginError is the error of a registry that could not be talked to, with what there was
// to show to it.
type loginError struct {
	error
	login login
}

func (e loginError) Unwrap() error { return e.error }

// explain says what an error means to somebody who pulls ref, and what to do.
func explain(ctx context.Context, ref Reference, with login, err error) error {
	if e := (loginError{}); errors.As(err, &e) {
		with = e.login
	}
	var known *api.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return canceled(ctx)
	case errors.As(err, &known):
		return fail(ref, known.Kind, err)
	}
	// A registry on this machine was asked in two ways: TLS comes first.
	if e := explainTLS(ref, err); e != nil {
		return e
	}
	if e := explainAnswer(ref, err); e != nil {
		return with.mention(e)
	}
	return explainNetwork(ref, err)
}

func fail(ref Reference, kind api.Kind, err error) *api.Error {
	e := api.Errorf(kind, "cannot pull %s: %w", ref, err)
	if e.Hint == "" {
		e.Hint = "try another tag, or tell who made the image"
	}
	return e
}

// explainAnswer is about what the registry itself has said.
func explainAnswer(ref Reference, err error) *api.Error {
	var limit limitError
	if errors.As(err, &limit) {
		return api.Errorf(api.KindDenied, "cannot pull %s: %s refuses for now: %w", ref, ref.Registry(), limit).
			WithHint("%s\nregistries allow more to who is logged in: docker login %s", again(ref), ref.Registry())
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return nil
	}
	switch said := sayings(answer); {
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return api.Errorf(api.KindDenied, "cannot pull %s: %s does not allow it%s: the image is private, or there is none of that name", ref, ref.Registry(), said).
			WithHint("docker login %s", ref.Registry())
	case answer.StatusCode == http.StatusNotFound && ref.Digest() != "":
		return api.Errorf(api.KindNotFound, "cannot pull %s: %s has no such image%s", ref, ref.Registry(), said).
			WithHint("look at the digest again, or give a tag instead")
	case answer.StatusCode == http.StatusNotFound:
		return api.Errorf(api.KindNotFound, "cannot pull %s: %s has no such name or tag%s", ref, ref.Registry(), said).
			WithHint("look at the name and the tag again; without a tag it is latest")
	case answer.StatusCode >= 500:
		return api.Errorf(api.KindInternal, "cannot pull %s: %s is in trouble: it answered %d %s%s", ref, ref.Registry(),
			answer.StatusCode, http.StatusText(answer.StatusCode), said).WithHint("try again later: %s", again(ref))
	default:
		return api.Errorf(api.KindInternal, "cannot pull %s: %s answered %d %s%s", ref, ref.Registry(),
			answer.StatusCode, http.StatusText(answer.StatusCode), said).WithHint("is %s a registry of images?", ref.Registry())
	}
}

// mention says with an error for want of a password where passwords were looked for.
func (l login) mention(e *api.Error) error {
	if e.Kind != api.KindDenied && e.Kind != api.KindNotFound {
		return e
	}
	for _, what := range l.missed {
		e.Message += "; " + what
	}
	switch {
	case e.Kind != api.KindDenied:
	case len(l.looked) > 0:
		e.Hint += "\npasswords were looked for in " + strings.Join(l.looked, ", ")
	default:
		e.Hint += "\nthere are no passwords in " + strings.Join(authFiles(), ", ")
	}
	if e.Kind == api.KindDenied {
		e.Hint += "\nanother file is the setting registry_auth: banger config show --help"
	}
	return e
}

// sayings are the registry's own words, in brackets.
func sayings(e *transport.Error) string {
	var words []string
	for _, d := range e.Errors {
		if d.Message != "" && len(words) < 3 {
			words = append(words, fmt.Sprintf("%.200s", d.Message))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, "; ") + ")"
}

// explainTLS is about proving who the registry is.
func explainTLS(ref Reference, err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var other *tls.CertificateVerificationError
	switch {
	case errors.As(err, &authority):
		return api.Errorf(api.KindDenied, "cannot pull %s: the certificate of %s is signed by an authority that this machine does not know", ref, ref.Registry()).
			WithHint("put the authority's certificate into a file, and its path into config.toml: registry_ca = \"/path/to/ca.pem\"\n" +
				"banger config show   names config.toml")
	case errors.As(err, &host):
		return api.Errorf(api.KindDenied, "cannot pull %s: the certificate that answered is not one of %s: %w", ref, ref.Registry(), host).
			WithHint("use the name that the certificate has")
	case errors.As(err, &invalid):
		return api.Errorf(api.KindDenied, "cannot pull %s: the certificate of %s is not valid: %w", ref, ref.Registry(), invalid).
			WithHint("date   shows whether this machine's clock is right; else tell who runs the registry")
	case errors.As(err, &other):
		return api.Errorf(api.KindDenied, "cannot pull %s: %s cannot prove who it is: %w", ref, ref.Registry(), other).
			WithHint("tell who runs the registry")
	}
	return nil
}

// explainNetwork is about getting to the registry at all.
func explainNetwork(ref Reference, err error) error {
	kind, hint := api.KindInternal, again(ref)+"   goes on where it stopped"
	// A registry on this machine has been asked without encryption, too: that it does not
	// speak TLS is no news.
	if plain := (httpError{}); errors.As(err, &plain) {
		err = plain.error
	}
	var elsewhere plainError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, errStalled):
		kind = api.KindTimeout
	case errors.As(err, &op) && op.Op == "proxyconnect":
		hint = "banger config show   has the proxy; banger daemon stop   lets a change count"
	case errors.As(err, &dns):
		hint = "is there a network? getent hosts " + host(ref)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		hint = "is there a network? ip route"
	case errors.As(err, &elsewhere) && elsewhere.host != ref.ref.Context().RegistryStr():
		return api.Errorf(api.KindDenied, "cannot pull %s: %s leads to another place: %w", ref, ref.Registry(), elsewhere).
			WithHint("tell who runs the registry: what it redirects to needs a certificate, too")
	case op == nil && unencrypted(err):
		return api.Errorf(api.KindDenied, "cannot pull %s: %w", ref, plainError{ref.Registry()}).
			WithHint("give the registry a certificate; only those on this machine may do without")
	}
	if direct(err) && !loopback(ref.Registry()) {
		hint += "\na proxy is the setting https_proxy: banger config show --help"
	}
	return api.Errorf(kind, "cannot pull %s: cannot talk to %s: %w", ref, ref.Registry(), withoutURL(err)).WithHint("%s", hint)
}

// unencrypted says whether a registry has shown that it does not speak TLS.
func unencrypted(err error) bool {
	return errors.As(err, new(plainError)) || errors.As(err, new(tls.RecordHeaderError)) || errors.Is(err, http.ErrSchemeMismatch)
}

// untrusted says whether a registry could not prove who it is.
func untrusted(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }

// unreached says whether there was no connection at all.
func unreached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") || errors.As(err, new(*net.DNSError))
}

// direct says whether a registry could not be reached, and no proxy was tried.
func direct(err error) bool {
	var op *net.OpError
	return unreached(err) && !(errors.As(err, &op) && op.Op == "proxyconnect")
}

// host is the name that is looked up for a reference.
func host(ref Reference) string {
	u := url.URL{Host: ref.ref.Context().RegistryStr()}
	return u.Hostname()
}

// withoutURL takes off what net/http puts before its errors: an address with
// queries in it that people have not typed.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func again(ref Reference) string { return "banger image pull " + ref.Familiar() }
