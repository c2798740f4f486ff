package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Bytes is a string of any bytes that JSON preserves: arguments, environment variables and
// file names of Linux may have any bytes but 0. encoding/json would replace bytes that are
// not UTF-8 by U+FFFD; such a string is encoded as an object instead, such as
// {"base64":"Yf8="}. All others are JSON strings.
type Bytes string

type base64Object struct {
	Base64 *[]byte `json:"base64"`
}

// MarshalJSON writes a string, or an object if b is not UTF-8.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(b)) {
		return json.Marshal(string(b))
	}
	raw := []byte(b)
	return json.Marshal(base64Object{&raw})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '{' {
		return json.Unmarshal(data, (*string)(b))
	}
	var o base64Object
	if err := strict(data, &o); err != nil {
		return err
	}
	if o.Base64 == nil {
		return errors.New(`an object in place of a string has "base64"`)
	}
	*b = Bytes(*o.Base64)
	return nil
}

// strict decodes data into v and refuses unknown fields.
func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func toBytes(list []string) []Bytes {
	if list == nil {
		return nil
	}
	out := make([]Bytes, len(list))
	for i, s := range list {
		out[i] = Bytes(s)
	}
	return out
}

func toStrings(list []Bytes) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// The methods below encode the fields of users' commands and paths as Bytes. The outer
// fields replace the embedded struct's fields of the same names.

type execFields Exec

type execJSON struct {
	Argv []Bytes `json:"argv,omitempty"`
	Env  []Bytes `json:"env,omitempty"`
	Dir  Bytes   `json:"dir,omitempty"`
	User Bytes   `json:"user,omitempty"`
	execFields
}

// MarshalJSON preserves the bytes of every argument, variable and name (see Bytes).
func (e Exec) MarshalJSON() ([]byte, error) {
	return json.Marshal(execJSON{toBytes(e.Argv), toBytes(e.Env), Bytes(e.Dir), Bytes(e.User), execFields(e)})
}

// UnmarshalJSON reads what MarshalJSON wrote. It ignores unknown fields: an agent may be
// older than the client.
func (e *Exec) UnmarshalJSON(data []byte) error {
	var j execJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*e = Exec(j.execFields)
	e.Argv, e.Env, e.Dir, e.User = toStrings(j.Argv), toStrings(j.Env), string(j.Dir), string(j.User)
	return nil
}

type backgroundFields Background

type backgroundJSON struct {
	Argv       []Bytes `json:"argv,omitempty"`
	Entrypoint *Bytes  `json:"entrypoint,omitempty"`
	Env        []Bytes `json:"env,omitempty"`
	Dir        Bytes   `json:"dir,omitempty"`
	User       Bytes   `json:"user,omitempty"`
	backgroundFields
}

// MarshalJSON preserves the bytes of every argument, variable and name (see Bytes).
func (b Background) MarshalJSON() ([]byte, error) {
	return json.Marshal(backgroundJSON{toBytes(b.Argv), (*Bytes)(b.Entrypoint), toBytes(b.Env), Bytes(b.Dir), Bytes(b.User), backgroundFields(b)})
}

// UnmarshalJSON reads what MarshalJSON wrote. It refuses unknown fields.
func (b *Background) UnmarshalJSON(data []byte) error {
	var j backgroundJSON
	if err := strict(data, &j); err != nil {
		return err
	}
	*b = Background{Argv: toStrings(j.Argv), Entrypoint: (*string)(j.Entrypoint), Env: toStrings(j.Env), Dir: string(j.Dir), User: string(j.User)}
	return nil
}

type importImageFields ImportImage

type importImageJSON struct {
	Path Bytes `json:"path"`
	importImageFields
}

// MarshalJSON preserves the bytes of the path (see Bytes).
func (i ImportImage) MarshalJSON() ([]byte, error) {
	return json.Marshal(importImageJSON{Bytes(i.Path), importImageFields(i)})
}

// UnmarshalJSON reads what MarshalJSON wrote. It refuses unknown fields.
func (i *ImportImage) UnmarshalJSON(data []byte) error {
	var j importImageJSON
	if err := strict(data, &j); err != nil {
		return err
	}
	*i = ImportImage(j.importImageFields)
	i.Path = string(j.Path)
	return nil
}

type importKernelFields ImportKernel

type importKernelJSON struct {
	Path    Bytes `json:"path,omitempty"`
	Modules Bytes `json:"modules,omitempty"`
	importKernelFields
}

// MarshalJSON preserves the bytes of the paths (see Bytes).
func (i ImportKernel) MarshalJSON() ([]byte, error) {
	return json.Marshal(importKernelJSON{Bytes(i.Path), Bytes(i.Modules), importKernelFields(i)})
}

// UnmarshalJSON reads what MarshalJSON wrote. It refuses unknown fields.
func (i *ImportKernel) UnmarshalJSON(data []byte) error {
	var j importKernelJSON
	if err := strict(data, &j); err != nil {
		return err
	}
	*i = ImportKernel(j.importKernelFields)
	i.Path, i.Modules = string(j.Path), string(j.Modules)
	return nil
}
