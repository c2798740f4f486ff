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
	Entries int64       `json:"entries"`
	Bytes   int64       `json:"bytes"`
}

// MarshalJSON preserves the bytes of the names.
func (t Tree) MarshalJSON() ([]byte, error) {
	j := treeJSON{Path: api.Bytes(t.Path), Entries: t.Entries, Bytes: t.Bytes}
	for _, name := range t.Skip {
		j.Skip = append(j.Skip, api.Bytes(name))
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Tree) UnmarshalJSON(data []byte) error {
	var j treeJSON
	err := json.Unmarshal(data, &j)
	*t = Tree{Path: string(j.Path), Entries: j.Entries, Bytes: j.Bytes}
	for _, name := range j.Skip {
		t.Skip = append(t.Skip, string(name))
	}
	return err
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
