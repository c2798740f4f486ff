package freezer

import (
	"encoding/json"
	"os"
)

// record is what an attempt has frozen.
type record struct {
	Attempt string         `json:"attempt"`
	Groups  []string       `json:"groups"`
	Moved   map[int]string `json:"moved"` // process → the cgroup that it was in
}

// write writes the record, unless path is empty.
func (r record) write(path string) error {
	if path == "" {
		return nil
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o600)
}

func readRecord(path string) (r record, err error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}
