package store

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"banger/api"
	"banger/internal/golden"
)

// fillValue sets every field to something.
func fillValue(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(*n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 200))
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillValue(v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillValue(key, n)
		fillValue(value, n)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fillValue(v.Field(i), n)
		}
	default:
		panic(v.Type().String())
	}
}

// TestRows: all of a VM is stored but what is only known while it is asked. The file shows
// the form, in which older and newer versions read each other's rows: it may gain fields, and
// loses or changes none.
func TestRows(t *testing.T) {
	var v api.VM
	n := 0
	fillValue(reflect.ValueOf(&v).Elem(), &n)
	v.PID, v.Address, v.DiskUsage, v.Idle = 0, "", nil, nil
	text, err := json.MarshalIndent(rowOf(v), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "row.json", string(text)+"\n")
	var row vmRow
	if err := json.Unmarshal(text, &row); err != nil {
		t.Fatal(err)
	}
	if got := row.vm(); !reflect.DeepEqual(got, v) {
		t.Errorf("stored and read again:\n%+v\nwas\n%+v", got, v)
	}
	empty, err := json.Marshal(rowOf(api.VM{}))
	if want := `{"version":1,"id":"","name":"","state":"","image":"","image_digest":"","kernel":"","kernel_digest":"","driver":"","disk_driver":"","vcpus":0,"memory_bytes":0,"disk_bytes":0,"created_at":"0001-01-01T00:00:00Z"}`; err != nil || string(empty) != want {
		t.Errorf("%s, %v", empty, err)
	}
}
