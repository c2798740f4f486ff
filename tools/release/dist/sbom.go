package dist

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// The bill of materials of a release is CycloneDX 1.6 in JSON (ECMA-424). Only the
// parts for programs, the modules linked into them, and their relation are used.

type sbom struct {
	Format       string          `json:"bomFormat"`
	Spec         string          `json:"specVersion"`
	Version      int             `json:"version"`
	Metadata     sbomMetadata    `json:"metadata"`
	Components   []sbomComponent `json:"components"`
	Dependencies []sbomDependsOn `json:"dependencies"`
}

type sbomMetadata struct {
	Timestamp string        `json:"timestamp"`
	Component sbomComponent `json:"component"`
}

type sbomComponent struct {
	Type       string         `json:"type"`
	Ref        string         `json:"bom-ref"`
	Name       string         `json:"name"`
	Version    string         `json:"version"`
	Hashes     []sbomHash     `json:"hashes,omitempty"`
	PURL       string         `json:"purl,omitempty"`
	Properties []sbomProperty `json:"properties,omitempty"`
}

type sbomHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type sbomProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type sbomDependsOn struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// SBOMName is the file name (CycloneDX recommends the ending).
func SBOMName(version string) string { return "banger_" + version + ".cdx.json" }

// SBOM lists what was linked into the programs of a release.
func SBOM(s Source, programs []Linked) ([]byte, error) {
	whole := sbomComponent{Type: "application", Ref: "banger@" + s.Version, Name: "banger", Version: s.Version,
		Properties: []sbomProperty{{"banger:commit", s.Commit}}}
	b := sbom{Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: sbomMetadata{Timestamp: s.Time.Format(time.RFC3339), Component: whole}}
	parts := sbomDependsOn{Ref: whole.Ref}
	modules := map[string]sbomComponent{}
	for _, p := range programs {
		ref := goos + "/" + p.Arch + "/" + p.Program
		parts.DependsOn = append(parts.DependsOn, ref)
		b.Components = append(b.Components, sbomComponent{Type: "application", Ref: ref, Name: p.Program, Version: s.Version,
			Hashes: []sbomHash{{"SHA-256", p.SHA256}}, Properties: []sbomProperty{{"banger:platform", goos + "/" + p.Arch}}})
		standard := debug.Module{Path: "std", Version: strings.TrimPrefix(p.Go, "go")}
		links := sbomDependsOn{Ref: ref}
		for _, m := range append([]debug.Module{standard}, p.Modules...) {
			c := moduleComponent(m)
			modules[c.Ref] = c
			links.DependsOn = append(links.DependsOn, c.Ref)
		}
		slices.Sort(links.DependsOn)
		b.Dependencies = append(b.Dependencies, links)
	}
	b.Dependencies = append([]sbomDependsOn{parts}, b.Dependencies...)
	b.Components = append(b.Components, sortedModules(modules)...)
	data, err := json.MarshalIndent(b, "", "  ")
	return append(data, '\n'), err
}

func sortedModules(modules map[string]sbomComponent) []sbomComponent {
	var all []sbomComponent
	for _, c := range modules {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b sbomComponent) int { return cmp.Compare(a.Ref, b.Ref) })
	return all
}

func moduleComponent(m debug.Module) sbomComponent {
	purl := packageURL(m)
	c := sbomComponent{Type: "library", Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
	if m.Sum != "" { // a hash of hashes, which CycloneDX's own field does not support
		c.Properties = []sbomProperty{{"banger:go.sum", m.Sum}}
	}
	return c
}

// packageURL returns the module's package URL (ECMA-427; its type golang has the path
// in lower case).
func packageURL(m debug.Module) string {
	parts := strings.Split(strings.ToLower(m.Path), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return fmt.Sprintf("pkg:golang/%s@%s", strings.Join(parts, "/"), url.QueryEscape(m.Version))
}
