package stdio

import (
	"encoding/json"

	"banger/api"
)

// The methods below encode file names as api.Bytes: Linux allows any bytes but 0 in them.

type copyJSON struct {
	Path    api.Bytes `json:"path"`
	Name    api.Bytes `json:"name,omitempty"`
	Archive bool      `json:"archive,omitempty"`
}

// MarshalJSON preserves the bytes of the names.
func (c Copy) MarshalJSON() ([]byte, error) {
	return json.Marshal(copyJSON{api.Bytes(c.Path), api.Bytes(c.Name), c.Archive})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Copy) UnmarshalJSON(data []byte) error {
	var j copyJSON
	err := json.Unmarshal(data, &j)
	*c = Copy{string(j.Path), string(j.Name), j.Archive}
	return err
}

type treeJSON struct {
	Path    api.Bytes   `json:"path"`
	Skip    []api.Bytes `json:"skip,omitempty"`
	Only    []api.Bytes `json:"only,omitempty"`
	Entries int64       `json:"entries"`
	Bytes   int64       `json:"bytes"`
}

// MarshalJSON preserves the bytes of the names.
func (t Tree) MarshalJSON() ([]byte, error) {
	return json.Marshal(treeJSON{api.Bytes(t.Path), allBytes(t.Skip), allBytes(t.Only), t.Entries, t.Bytes})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Tree) UnmarshalJSON(data []byte) error {
	var j treeJSON
	err := json.Unmarshal(data, &j)
	*t = Tree{string(j.Path), allStrings(j.Skip), allStrings(j.Only), j.Entries, j.Bytes}
	return err
}

type watchJSON struct {
	Path api.Bytes   `json:"path"`
	Skip []api.Bytes `json:"skip,omitempty"`
}

// MarshalJSON preserves the bytes of the names.
func (w Watch) MarshalJSON() ([]byte, error) {
	return json.Marshal(watchJSON{api.Bytes(w.Path), allBytes(w.Skip)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (w *Watch) UnmarshalJSON(data []byte) error {
	var j watchJSON
	err := json.Unmarshal(data, &j)
	*w = Watch{string(j.Path), allStrings(j.Skip)}
	return err
}

func allBytes(names []string) (all []api.Bytes) {
	for _, name := range names {
		all = append(all, api.Bytes(name))
	}
	return all
}

func allStrings(names []api.Bytes) (all []string) {
	for _, name := range names {
		all = append(all, string(name))
	}
	return all
}

type statJSON struct {
	Name  api.Bytes `json:"name"`
	Mode  uint32    `json:"mode"`
	Size  int64     `json:"size"`
	IsDir bool      `json:"is_dir"`
}

// MarshalJSON preserves the bytes of the name.
func (s Stat) MarshalJSON() ([]byte, error) {
	return json.Marshal(statJSON{api.Bytes(s.Name), s.Mode, s.Size, s.IsDir})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Stat) UnmarshalJSON(data []byte) error {
	var j statJSON
	err := json.Unmarshal(data, &j)
	*s = Stat{string(j.Name), j.Mode, j.Size, j.IsDir}
	return err
}
