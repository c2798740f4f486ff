package project

import "encoding/json"

// Schema is a JSON Schema, as much of it as banger.toml needs (draft 2020-12).
type Schema struct {
	Schema      string `json:"$schema,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`

	Type    any       `json:"type,omitempty"` // a name, or a list of them
	Enum    []string  `json:"enum,omitempty"`
	AnyOf   []*Schema `json:"anyOf,omitempty"`
	Pattern string    `json:"pattern,omitempty"` // no more than RE2 and ECMA-262 share
	Minimum *int      `json:"minimum,omitempty"`
	Maximum *int      `json:"maximum,omitempty"`

	Items    *Schema `json:"items,omitempty"`
	MinItems *int    `json:"minItems,omitempty"`
	MaxItems *int    `json:"maxItems,omitempty"`

	Properties           map[string]*Schema `json:"properties,omitempty"`
	PropertyNames        *Schema            `json:"propertyNames,omitempty"`
	AdditionalProperties any                `json:"additionalProperties,omitempty"` // false, or a *Schema
	Required             []string           `json:"required,omitempty"`
}

// Patterns of values for the schema, which editors check while somebody types. The parsers check
// more: whatever they accept matches.
const (
	imagePattern    = `^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}$`
	sizePattern     = `^[0-9]{1,16}(\.[0-9]{1,6})? ?[KMGTkmgt]([iI][bB]?)?$`
	portPattern     = `^(([0-9.]+|localhost|\[[0-9A-Fa-f:.]+\]):)?[0-9]+:[0-9]+(/(tcp|udp))?$`
	pathPattern     = `^/`
	homePattern     = `^~/`
	copiedPattern   = `^(~/|/)`
	relativePattern = `^[^/]`
	patternPattern  = `^[^!#]`
	modePattern     = `^[0-7]+$`
	ownerPattern    = `^[A-Za-z0-9_][A-Za-z0-9._-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?$`
	variablePattern = `^[A-Za-z_][A-Za-z0-9_]{0,254}$`
	scriptPattern   = `[^ \t\r\n]`
)

func ptr(n int) *int { return &n }

func listSchema(most int, of *Schema) *Schema {
	return &Schema{Type: "array", MaxItems: ptr(most), Items: of}
}

func scriptSchema() *Schema { return &Schema{Type: "string", Pattern: scriptPattern} }

// tableSchema describes a table of these keys.
func tableSchema[T any](entries []entry[T], required ...string) *Schema {
	s := &Schema{Type: "object", Properties: map[string]*Schema{}, AdditionalProperties: false, Required: required}
	for _, e := range entries {
		described := *e.schema
		described.Description = e.doc
		s.Properties[e.name] = &described
	}
	return s
}

// JSONSchema returns the JSON Schema of banger.toml, for editors.
func JSONSchema() ([]byte, error) {
	s := tableSchema(keys())
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", Name
	s.Description = "What a repository says about its VM, for banger up."
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}
