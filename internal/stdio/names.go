package stdio

import (
	"encoding/json"

	"banger/api"
)

// The methods below have file names be api.Bytes in JSON: Linux's may have any bytes but 0.

type copyJSON struct {
	Path    api.Bytes `json:"path"`
	Name    api.Bytes `json:"name,omitempty"`
	Archive bool      `json:"archive,omitempty"`
}

// MarshalJSON has the names be what they are.
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

type statJSON struct {
	Name  api.Bytes `json:"name"`
	Mode  uint32    `json:"mode"`
	Size  int64     `json:"size"`
	IsDir bool      `json:"is_dir"`
}

// MarshalJSON has the name be what it is.
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
