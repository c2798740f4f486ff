package daemon

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"banger/api"
)

// TestExport: the answer says how long it is, so that one which breaks off is
// known to; and what is wrong before that is an error like any other.
func TestExport(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]string{"fox/export": "fox as oci", "fox/export?format=tar": "fox as tar", "broken/export": ""} {
		res, err := r.http.Get("http://localhost/v1/images/" + path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want == "" {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s broke off: %q, %v", path, data, err)
			}
		} else if err != nil || string(data) != want || res.ContentLength != int64(len(want)) || res.Header.Get(api.LeftOutHeader) != "3" {
			t.Errorf("%s: %q of %d, %v", path, data, res.ContentLength, err)
		}
		if told := <-r.fake.work.asked; told != "closed" {
			t.Errorf("%s: %s", path, told)
		}
	}
	r.fails(http.StatusNotFound, api.KindNotFound, "GET", "/v1/images/none/export", "")
	r.fails(http.StatusBadRequest, api.KindInvalid, "GET", "/v1/images/fox/export?as=tar", "")
}
