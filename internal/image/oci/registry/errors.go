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

// errStalled is the cause of a request that was given up because the registry sent
// nothing.
var errStalled = errors.New("it stopped responding")

func canceled(ctx context.Context) error {
	return api.Errorf(api.KindCanceled, "the pull was stopped: %w", context.Cause(ctx))
}

// loginError is the error of a registry that refused access, with the credentials that
// were used.
type loginError struct {
	error
	login login
}

func (e loginError) Unwrap() error { return e.error }

// explain converts an error of a pull of ref to one that says what to do.
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
	// A registry on this machine was accessed in two ways: the TLS error comes first.
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
		e.Hint = "try another tag, or report it to the image's author"
	}
	return e
}

// explainAnswer explains an answer of the registry itself.
func explainAnswer(ref Reference, err error) *api.Error {
	var limit limitError
	if errors.As(err, &limit) {
		return api.Errorf(api.KindDenied, "cannot pull %s: %s refuses for now: %w", ref, ref.Registry(), limit).
			WithHint("%s\nregistries allow more requests after a login: docker login %s", pullCommand(ref), ref.Registry())
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return nil
	}
	switch said := serverMessages(answer); {
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return api.Errorf(api.KindDenied, "cannot pull %s: %s does not allow it%s: the image is private or does not exist", ref, ref.Registry(), said).
			WithHint("docker login %s", ref.Registry())
	case answer.StatusCode == http.StatusNotFound && ref.Digest() != "":
		return api.Errorf(api.KindNotFound, "cannot pull %s: %s has no such image%s", ref, ref.Registry(), said).
			WithHint("check the digest, or use a tag instead")
	case answer.StatusCode == http.StatusNotFound:
		return api.Errorf(api.KindNotFound, "cannot pull %s: %s has no such name or tag%s", ref, ref.Registry(), said).
			WithHint("check the name and the tag; the default tag is latest")
	case answer.StatusCode >= 500:
		return api.Errorf(api.KindInternal, "cannot pull %s: %s has a problem: it answered %d %s%s", ref, ref.Registry(),
			answer.StatusCode, http.StatusText(answer.StatusCode), said).WithHint("try again later: %s", pullCommand(ref))
	default:
		return api.Errorf(api.KindInternal, "cannot pull %s: %s answered %d %s%s", ref, ref.Registry(),
			answer.StatusCode, http.StatusText(answer.StatusCode), said).WithHint("is %s a registry of images?", ref.Registry())
	}
}

// mention adds the searched password files to an error about a missing password.
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
		e.Hint += "\npasswords were searched in " + strings.Join(l.looked, ", ")
	default:
		e.Hint += "\nthere are no passwords in " + strings.Join(authFiles(l.own), ", ")
	}
	if e.Kind == api.KindDenied {
		e.Hint += "\nanother file can be set with registry_auth: banger config show --help"
	}
	return e
}

// serverMessages returns the registry's own messages, in brackets.
func serverMessages(e *transport.Error) string {
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

// explainTLS explains errors of the registry's certificate.
func explainTLS(ref Reference, err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var other *tls.CertificateVerificationError
	switch {
	case errors.As(err, &authority):
		return api.Errorf(api.KindDenied, "cannot pull %s: the certificate of %s is signed by an authority that this machine does not trust", ref, ref.Registry()).
			WithHint("put the authority's certificate into a file, and its path into config.toml: registry_ca = \"/path/to/ca.pem\"\n" +
				"banger config show   shows the path of config.toml")
	case errors.As(err, &host):
		return api.Errorf(api.KindDenied, "cannot pull %s: the certificate of the server is not valid for %s: %w", ref, ref.Registry(), host).
			WithHint("use a name that the certificate is valid for")
	case errors.As(err, &invalid):
		return api.Errorf(api.KindDenied, "cannot pull %s: the certificate of %s is not valid: %w", ref, ref.Registry(), invalid).
			WithHint("check this machine's clock with `date`; if it is right, report it to the registry's operator")
	case errors.As(err, &other):
		return api.Errorf(api.KindDenied, "cannot pull %s: cannot verify the identity of %s: %w", ref, ref.Registry(), other).
			WithHint("report it to the registry's operator")
	}
	return nil
}

// explainNetwork explains errors of the connection to the registry.
func explainNetwork(ref Reference, err error) error {
	kind, hint := api.KindInternal, pullCommand(ref)+"   continues where it stopped"
	// A registry on this machine was also accessed without TLS: that it does not speak
	// TLS is expected.
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
		hint = "banger config show   shows the proxy; banger daemon stop   applies a change"
	case errors.As(err, &dns):
		hint = "is there a network? getent hosts " + host(ref)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		hint = "is there a network? ip route"
	case errors.As(err, &elsewhere) && elsewhere.host != ref.ref.Context().RegistryStr():
		return api.Errorf(api.KindDenied, "cannot pull %s: %s redirects to another place: %w", ref, ref.Registry(), elsewhere).
			WithHint("report it to the registry's operator: the redirect's target needs a certificate, too")
	case op == nil && unencrypted(err):
		return api.Errorf(api.KindDenied, "cannot pull %s: %w", ref, plainError{ref.Registry()}).
			WithHint("give the registry a certificate; only registries on this machine may lack one")
	}
	if direct(err) && !loopback(ref.Registry()) {
		hint += "\na proxy can be set with https_proxy: banger config show --help"
	}
	return api.Errorf(kind, "cannot pull %s: cannot connect to %s: %w", ref, ref.Registry(), withoutURL(err)).WithHint("%s", hint)
}

// unencrypted reports whether a registry has shown that it does not speak TLS.
func unencrypted(err error) bool {
	return errors.As(err, new(plainError)) || errors.As(err, new(tls.RecordHeaderError)) || errors.Is(err, http.ErrSchemeMismatch)
}

// untrusted reports whether a registry's identity could not be verified.
func untrusted(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }

// unreached reports whether there was no connection at all.
func unreached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") || errors.As(err, new(*net.DNSError))
}

// direct reports whether a registry could not be reached, and no proxy was used.
func direct(err error) bool {
	var op *net.OpError
	return unreached(err) && !(errors.As(err, &op) && op.Op == "proxyconnect")
}

// host returns the host name of a reference.
func host(ref Reference) string {
	u := url.URL{Host: ref.ref.Context().RegistryStr()}
	return u.Hostname()
}

// withoutURL removes the prefix that net/http adds to its errors: a URL with queries
// that the user has not typed.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func pullCommand(ref Reference) string {
	if ref.retry != "" {
		return ref.retry
	}
	return "banger image pull " + ref.Familiar()
}
