package feature

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"banger/api"
	"banger/internal/host/fsx"
	"banger/internal/image/oci/registry"
)

// Wanted is what a file asks for.
type Wanted struct {
	Top      string // of the workspace
	From     string // the directory of the file, below Top: local ids are relative to it
	Features []Request
	Override []ID // overrideFeatureInstallOrder
}

// Place is how the name of a Set.Dir begins. It is in the guest's /tmp.
const Place = "banger-features-"

// Set are features in the order in which they are installed, with what they depend on. Close
// removes their files from this host.
type Set struct {
	Features []*Feature
	// Dir is the directory that all features' directories are in, below the guest's root. Nobody in
	// the guest can guess its name.
	Dir   string
	files []*os.File
}

// Close removes the files.
func (s *Set) Close() {
	for _, f := range s.files {
		f.Close() // it has no name
	}
}

// Unknown returns the ids of overrideFeatureInstallOrder that are not among the features.
func (s *Set) Unknown(override []ID) (all []ID) {
	for _, id := range override {
		if !slices.ContainsFunc(s.Features, id.is) {
			all = append(all, id)
		}
	}
	return all
}

// artifact is what a feature is in a registry (containers.dev/implementors/features-distribution).
var artifact = registry.Artifact{Kind: "dev container feature", Layer: "application/vnd.devcontainers.layer.v1+tar", Most: maxArchive}

// resolver gets features.
type resolver struct {
	wanted Wanted
	cache  *Cache
	report api.Report
	set    *Set
	nodes  []*node // all different ones
	got    map[string]*Feature
}

// Resolve gets all features that are wanted, with what they depend on. The caller must close the
// set.
func (c *Cache) Resolve(ctx context.Context, w Wanted, report api.Report) (*Set, error) {
	var random [16]byte
	rand.Read(random[:]) // never fails
	if report == nil {
		report = func(api.Progress) {}
	}
	r := &resolver{wanted: w, cache: c, report: report, got: map[string]*Feature{}, set: &Set{Dir: "tmp/" + Place + hex.EncodeToString(random[:])}}
	for _, request := range w.Features {
		if _, err := r.node(ctx, request); err != nil {
			r.set.Close()
			return nil, err
		}
	}
	features, err := sorted(r.nodes, w.Override)
	if err != nil {
		r.set.Close()
		return nil, err
	}
	r.set.Features = features
	return r.set, nil
}

// node returns the node of a request. One that is equal to another is that one, so that cycles end.
func (r *resolver) node(ctx context.Context, request Request) (*node, error) {
	f, err := r.get(ctx, request)
	if err != nil {
		return nil, err
	}
	n := &node{Feature: f}
	if i := slices.IndexFunc(r.nodes, n.equal); i >= 0 {
		return r.nodes[i], nil
	}
	if r.nodes = append(r.nodes, n); len(r.nodes) > maxFeatures {
		return nil, invalid(request.ID, "there are more than %d features, with what they depend on", maxFeatures)
	}
	for _, need := range f.DependsOn {
		other, err := r.node(ctx, need)
		if err != nil {
			e := *api.AsError(err)
			e.Message += fmt.Sprintf(" (%s depends on it)", request.ID)
			return nil, &e
		}
		n.needs = append(n.needs, other)
	}
	return n, nil
}

// get gets one feature. The same id means the same content, also if its version is published again
// in between.
func (r *resolver) get(ctx context.Context, request Request) (*Feature, error) {
	if known := r.got[request.ID.text]; known != nil {
		f := *known
		f.Request = request
		return &f, nil
	}
	f := &Feature{Request: request, Dir: path.Join(r.set.Dir, fmt.Sprint(len(r.set.files)))}
	file, err := fsx.Nameless(r.cache.dir)
	if err != nil {
		return nil, fsx.DiskError("store a feature", err)
	}
	r.set.files = append(r.set.files, file)
	w := bufio.NewWriterSize(file, 64<<10)
	metadata, err := r.files(ctx, f, w)
	if err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, fsx.DiskError("store a feature", err)
	}
	if f.size, err = file.Seek(0, io.SeekCurrent); err != nil {
		return nil, fsx.DiskError("store a feature", err)
	}
	f.files = file
	if f.Metadata, err = parseMetadata(metadata, r.wanted.From, request.ID.local != ""); err != nil {
		return nil, invalid(request.ID, "%s: %w", metadataFile, err).WithHint("report it to the feature's author")
	}
	r.got[request.ID.text] = f
	return f, nil
}

// files writes the files of a feature to w, and returns its metadata.
func (r *resolver) files(ctx context.Context, f *Feature, w io.Writer) ([]byte, error) {
	if f.ID.local != "" {
		metadata, err := packLocal(r.wanted.Top, f.ID.local, w, f.Dir)
		return metadata, unusable(f.ID, err, "")
	}
	r.report(api.Progress{Step: "feature", Message: "getting the feature " + f.ID.String()})
	found, err := r.cache.registries.FindArtifact(ctx, f.ID.ref, artifact)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if found.Note != "" {
		r.report(api.Progress{Step: api.StepNote, Message: found.Note})
	}
	f.Digest = found.Manifest
	archive, digest, err := found.Fetch(ctx, func(api.Progress) {})
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	r.cache.used[digest] = true
	metadata, err := repack(archive, w, f.Dir)
	return metadata, unusable(f.ID, err, "report it to the feature's author, or use another version of it")
}

// unusable explains why the files of a feature could not be stored. A full disk is not its fault.
func unusable(id ID, err error, hint string) error {
	switch {
	case err == nil:
		return nil
	case fsx.IsNoSpace(err):
		return fsx.DiskError("store a feature", err)
	}
	e := invalid(id, "%w", err)
	e.Hint = hint
	return e
}
