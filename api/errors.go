package api

import (
	"errors"
	"fmt"
)

// Kind classifies an Error, so that programs can decide without reading its text. It is
// part of the wire format.
type Kind string

// The kinds of failure.
const (
	KindInvalid     Kind = "invalid"     // the request itself is wrong; nothing was touched
	KindNotFound    Kind = "not_found"   // no such object
	KindExists      Kind = "exists"      // the name is taken
	KindConflict    Kind = "conflict"    // the object's state does not allow it now
	KindNoSpace     Kind = "no_space"    // a disk is full
	KindUnsupported Kind = "unsupported" // this host lacks something
	KindTimeout     Kind = "timeout"     // it did not finish in time
	KindCanceled    Kind = "canceled"    // the caller cancelled
	KindDenied      Kind = "denied"      // the caller is not allowed to
	KindSuspended   Kind = "suspended"   // the VM stands still until somebody resumes it
	KindFrozen      Kind = "frozen"      // the guest's programs stand still for a moment; try again
	KindInternal    Kind = "internal"    // a fault of banger itself, or of the host
)

// Error is the one error type that crosses package and process borders. Message says what
// failed and why ("cannot verb noun: cause"); Hint says what to type next.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	cause   error
}

// Errorf returns an Error of a kind. As with fmt.Errorf, %w wraps the cause; the hint of a
// wrapped Error is preserved.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Kind: kind, Message: err.Error(), cause: errors.Unwrap(err)}
	var inner *Error
	if errors.As(e.cause, &inner) {
		e.Hint = inner.Hint
	}
	return e
}

// WithHint sets what the user can type next and returns the error itself.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Error returns the message without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, which does not cross the wire.
func (e *Error) Unwrap() error { return e.cause }

// AsError returns err as an *Error. It wraps an error of another type as KindInternal, and
// returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Kind: KindInternal, Message: err.Error(), cause: err}
	}
	if err.Error() == e.Message {
		return e
	}
	return &Error{Kind: e.Kind, Message: err.Error(), Hint: e.Hint, cause: err}
}

// KindOf returns the kind of err, "" for nil and KindInternal for an error
// that is not an *Error.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return AsError(err).Kind
}

// HTTPStatus returns the HTTP status of the kind (RFC 9110, section 15). The statuses are
// numbers here, so that the guest's agent, which imports this package, does not link
// net/http.
func (k Kind) HTTPStatus() int {
	switch k {
	case KindInvalid:
		return 400
	case KindNotFound:
		return 404
	case KindExists, KindConflict, KindCanceled, KindSuspended, KindFrozen:
		return 409
	case KindNoSpace:
		return 507
	case KindUnsupported:
		return 501
	case KindTimeout:
		return 504
	case KindDenied:
		return 403
	default:
		return 500
	}
}
