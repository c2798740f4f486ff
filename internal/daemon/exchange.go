package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"banger/api"
)

// maxBody bounds the body of a request, in bytes: the largest one, a VM's description, has a few
// hundred bytes.
const maxBody = 1 << 20

// decode reads the one JSON value of a request. An empty body is the zero
// request. Unknown fields are refused, so that a client that is newer than the daemon gets an error
// instead of a partial effect.
func decode[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	if errors.Is(err, io.EOF) {
		return v, nil
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return v, nil
		}
		if err == nil {
			err = errors.New("more than one JSON value")
		}
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		err = fmt.Errorf("more than %d bytes", tooLarge.Limit)
	}
	var zero T
	return zero, api.Errorf(api.KindInvalid, "cannot read the request: %w", err)
}

// query reads the parameters of a request, which must all be known.
func query(r *http.Request, known ...string) (map[string]string, error) {
	values := map[string]string{}
	for name, all := range r.URL.Query() {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found || len(all) != 1 {
			return nil, api.Errorf(api.KindInvalid, "bad query parameter %q", name)
		}
		values[name] = all[0]
	}
	return values, nil
}

// yesNo reads a yes-or-no parameter: absent is no.
func yesNo(values map[string]string, name string) (bool, error) {
	text, ok := values[name]
	if !ok {
		return false, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, api.Errorf(api.KindInvalid, "bad query parameter %s=%q: want 0 or 1", name, text)
	}
	return v, nil
}

// count reads a number that is not negative, or returns fallback.
func count(values map[string]string, name string, fallback int) (int, error) {
	text, ok := values[name]
	if !ok {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, api.Errorf(api.KindInvalid, "bad query parameter %s=%q: want a number", name, text)
	}
	return n, nil
}

// writeJSON answers with v. It can fail only because the client is gone.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// writeError answers with the status of an error's kind.
func writeError(w http.ResponseWriter, err error) {
	e := api.AsError(err)
	writeJSON(w, e.Kind.HTTPStatus(), e)
}

// answer answers with one value, or with err.
func answer(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}

// orEmpty keeps lists from becoming null in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
