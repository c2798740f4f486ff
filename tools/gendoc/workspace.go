package main

import (
	"bytes"
	_ "embed"
	"os"
	"path/filepath"
	"text/template"

	"banger/internal/workspace/devcontainer"
	"banger/internal/workspace/project"
)

//go:embed workspace-keys.md.tmpl
var workspacePage string

// The files about banger.toml, below docs: the reference and the JSON Schema.
const (
	workspaceKeys   = "workspace-keys.md"
	workspaceSchema = "banger.toml.schema.json"
)

// workspace writes the files about banger.toml into dir, from the one table of its keys.
func workspace(dir string) error {
	page, err := template.New(workspaceKeys).Funcs(template.FuncMap{"cell": cell}).Parse(workspacePage)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	apply, skip := devcontainer.Document()
	err = page.Execute(&out, struct {
		Keys        []project.Documented
		Apply, Skip []devcontainer.Documented
	}{project.Document(), apply, skip})
	if err != nil {
		return err
	}
	schema, err := project.JSONSchema()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, workspaceKeys), out.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, workspaceSchema), schema, 0o644)
}
