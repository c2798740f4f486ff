package feature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"banger/internal/workspace/jsonc"
)

// nameRule is what the name of a feature consists of.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// parseMetadata parses a devcontainer-feature.json. from is the directory that local ids are
// relative to; only local features may depend on local ones.
func parseMetadata(data []byte, from string, local bool) (Metadata, error) {
	all, err := jsonc.Members(jsonc.Plain(data))
	if err != nil {
		return Metadata{}, err
	}
	m := Metadata{Members: all}
	for _, member := range all {
		if err := m.read(member, from, local); err != nil {
			return Metadata{}, fmt.Errorf("line %d: %s: %w", member.Line, member.Key, err)
		}
	}
	if !nameRule.MatchString(m.Name) {
		return Metadata{}, fmt.Errorf("%.60q is not a valid id", m.Name)
	}
	return m, nil
}

// read takes the keys that decide what is installed. Others are the caller's.
func (m *Metadata) read(member jsonc.Member, from string, local bool) error {
	switch member.Key {
	case "id":
		return json.Unmarshal(member.Value, &m.Name)
	case "version":
		return json.Unmarshal(member.Value, &m.Version)
	case "currentId":
		return json.Unmarshal(member.Value, &m.Current)
	case "legacyIds":
		return json.Unmarshal(member.Value, &m.Legacy)
	case "deprecated":
		return json.Unmarshal(member.Value, &m.Deprecated)
	case "options":
		return m.options(member.Value)
	case "dependsOn":
		return m.dependsOn(member.Value, from, local)
	case "installsAfter":
		return m.installsAfter(member.Value, from)
	}
	return nil
}

func (m *Metadata) options(data []byte) error {
	all, err := jsonc.Members(data)
	if err != nil {
		return err
	}
	m.Defaults = nil // of a key that was there before
	for _, member := range all {
		var said struct {
			Default any   `json:"default"`
			Enum    []any `json:"enum"`
		}
		if err := decode(member.Value, &said); err != nil {
			return fmt.Errorf("%.60q: %w", member.Key, err)
		}
		o := Option{Name: member.Key}
		if said.Default != nil {
			value, ok := simple(said.Default)
			if !ok {
				return fmt.Errorf("%.60q: its default is neither a text nor true or false", member.Key)
			}
			o.Value = value
		}
		for _, value := range said.Enum {
			o.enum = append(o.enum, fmt.Sprint(value))
		}
		m.Defaults = append(m.Defaults, o)
	}
	return nil
}

func (m *Metadata) dependsOn(data []byte, from string, local bool) error {
	all, err := jsonc.Members(data)
	if err != nil {
		return err
	}
	m.DependsOn = nil
	for _, member := range all {
		r, err := ParseRequest(member, from)
		if err == nil && r.ID.local != "" && !local {
			err = errors.New("a feature of a registry cannot depend on a file of the workspace")
		}
		if err != nil {
			return fmt.Errorf("%.200q: %w", member.Key, err)
		}
		m.DependsOn = append(m.DependsOn, r)
	}
	return nil
}

// installsAfter takes ids, without versions. One that cannot be used names no feature that is
// installed: it has no effect.
func (m *Metadata) installsAfter(data []byte, from string) error {
	var texts []string
	if err := json.Unmarshal(data, &texts); err != nil {
		return err
	}
	m.InstallAfter = nil
	for _, text := range texts {
		if id, err := ParseID(text, from); err == nil {
			m.InstallAfter = append(m.InstallAfter, id)
		}
	}
	return nil
}

// ParseRequest parses a key of an object of features: the id, with the options as the value.
func ParseRequest(m jsonc.Member, from string) (Request, error) {
	id, err := ParseID(m.Key, from)
	if err != nil {
		return Request{}, err
	}
	var v any
	if err := decode(m.Value, &v); err != nil {
		return Request{}, err
	}
	options, err := ParseOptions(v)
	return Request{id, options}, err
}

// decode decodes JSON without making numbers inexact.
func decode(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(to)
}
