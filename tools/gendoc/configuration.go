package main

import (
	"bytes"
	_ "embed"
	"strings"
	"text/template"

	"banger/internal/config"
)

//go:embed configuration.md.tmpl
var configurationPage string

// configuration is docs/configuration.md: every setting, from the one table of settings.
func configuration() ([]byte, error) {
	page, err := template.New("configuration").Funcs(template.FuncMap{"cell": cell}).Parse(configurationPage)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, struct {
		Settings   []config.Documented
		ImageNames map[string]string
		PresetKeys []string
	}{config.Document(), config.BuiltinImageNames(), config.PresetKeys()})
	return out.Bytes(), err
}

// cell is text for one cell of a Markdown table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
