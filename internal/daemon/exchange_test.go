package daemon

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"banger/api"
)

// FuzzDecode reads bodies as the handlers do: nothing panics, what is refused is
// the client's fault, and what is taken says the same when it is read again.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"name":"fox","start":true}`, `{"name":"fox"}{}`, `{"nme":"fox"}`, `null`, `[]`, `{"memory_bytes":1e400}`,
		`{"memory_bytes":-9223372036854775809}`, "\xff", `{"name":"\ud800"}`, strings.Repeat("[", 20000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, read := range []func() error{
			func() error { return decodes[api.CreateVM](body) }, func() error { return decodes[api.StopVM](body) },
			func() error { return decodes[api.PullImage](body) }, func() error { return decodes[api.ImportKernel](body) },
		} {
			if err := read(); err != nil && api.KindOf(err) != api.KindInvalid {
				t.Errorf("%q: %v", body, err)
			}
		}
	})
}

func decodes[T any](body string) error {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	_, err := decode[T](httptest.NewRecorder(), r)
	return err
}

// FuzzQuery reads parameters as the handlers do.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "tail=5", "tail=-1", "tail=1&tail=2", "follow=1&tail=0", "other=1", "tail=%", "follow=maybe", "tail=99999999999999999999", ";", "follow"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := &http.Request{URL: &url.URL{RawQuery: raw}}
		values, err := query(r, "tail", "follow")
		if err != nil {
			if api.KindOf(err) != api.KindInvalid {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		for name := range values {
			if name != "tail" && name != "follow" {
				t.Errorf("%q: parameter %q was taken", raw, name)
			}
		}
		if n, err := count(values, "tail", 7); err == nil && n < 0 {
			t.Errorf("%q: tail is %d", raw, n)
		}
		if _, err := yesNo(values, "follow"); err != nil && api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
