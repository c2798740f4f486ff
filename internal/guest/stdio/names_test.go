package stdio

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

// TestNamesAreBytes: whatever bytes an argument, a variable or a name has, it is the
// same at the other end, in every field that has any.
func TestNamesAreBytes(t *testing.T) {
	for _, text := range []string{"a\xffb", "\x80", "gr\xfcn", "ü\xc3", "plain", "<&>\u2028\ufffd", `{"base64":"x"}`} {
		opens := []Open{
			{Exec: &api.Exec{}}, {Start: &api.Exec{}}, {Put: &Copy{}}, {Get: &Copy{}}, {Stat: &Copy{}}, {CopyIn: &Copy{}}, {CopyOut: &Copy{}},
			{Tree: &Tree{}}, {Fetch: &Copy{}}, {Place: &Copy{}}, {Watch: &Watch{}},
		}
		for _, open := range opens {
			fill(reflect.ValueOf(&open).Elem(), text)
			var b bytes.Buffer
			if err := WriteOpen(&b, open); err != nil {
				t.Fatal(err)
			}
			got, err := ReadOpen(&b)
			if diff := cmp.Diff(open, got); err != nil || diff != "" {
				t.Errorf("%q: %v\n%s", text, err, diff)
			}
		}
		for _, v := range []any{&Stat{}, &api.Background{}, &api.ImportImage{}, &api.ImportKernel{}} {
			fill(reflect.ValueOf(v).Elem(), text)
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			err = json.Unmarshal(data, got)
			if diff := cmp.Diff(v, got); err != nil || diff != "" {
				t.Errorf("%s: %v\n%s", data, err, diff)
			}
		}
	}
}

// ids are fields whose text is banger's own, or an ASCII word; so are the names of
// images and kernels.
var ids = map[string]bool{"ID": true, "Network": true, "Image": true}

// fill sets every string in v to text, and all else to what is not its zero value.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if !ids[name] && !(name == "Name" && v.Type().PkgPath() == "banger/api") {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(3)
	}
}

// TestTextIsAString: what is UTF-8 is written as it always was, which other programs and
// older agents read; fields that only banger's newer versions have are passed over.
func TestTextIsAString(t *testing.T) {
	got, err := json.Marshal(api.Exec{Argv: []string{"printf", "ü"}, Dir: "/", TTY: true})
	if want := `{"argv":["printf","ü"],"dir":"/","tty":true}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	var e api.Exec
	if err := json.Unmarshal([]byte(`{"argv":["a"],"newer":1}`), &e); err != nil {
		t.Error(err)
	}
	var b api.Background
	for _, bad := range []string{`{"newer":1}`, `{"argv":[{}]}`, `{"argv":[{"base64":"Yf8=","x":1}]}`, `{"argv":[{"base64":"*"}]}`} {
		if err := json.Unmarshal([]byte(bad), &b); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
