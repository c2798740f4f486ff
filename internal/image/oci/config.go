package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
)

// The limits of documents that describe an image. Real configurations have some
// kilobytes; registries accept manifests of up to 4 MiB
// (https://github.com/opencontainers/distribution-spec, "Pushing Manifests").
const (
	MaxDocument = 4 << 20
	MaxLayers   = 512
)

var digestRule = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// IsDigest reports whether s is a digest: "sha256:" and 64 hexadecimal digits.
func IsDigest(s string) bool { return digestRule.MatchString(s) }

// Digest returns the digest of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ParseConfig parses an image's configuration. The result lacks the reference, the
// manifest and what only a manifest says about layers.
func ParseConfig(raw []byte) (Image, error) {
	if len(raw) > MaxDocument {
		return Image{}, api.Errorf(api.KindInvalid, "the image's configuration is larger than %d MiB", MaxDocument>>20)
	}
	var f configFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return Image{}, api.Errorf(api.KindInvalid, "cannot read the image's configuration: %w", err)
	}
	if f.RootFS.Type != "" && f.RootFS.Type != "layers" {
		return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: its root file system is of type %.40q, not of layers", f.RootFS.Type)
	}
	if len(f.RootFS.DiffIDs) > MaxLayers {
		return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: it has more than %d layers", MaxLayers)
	}
	i := Image{RawConfig: raw, Config: configOf(f.Config), Volumes: slices.Sorted(maps.Keys(f.Config.Volumes))}
	i.OS, i.Arch, _ = normal(f.OS, f.Architecture, "")
	for _, id := range f.RootFS.DiffIDs {
		if !IsDigest(id.String()) {
			return Image{}, api.Errorf(api.KindInvalid, "cannot use the image: %.80q is not a valid diff id of a layer", id)
		}
		i.Layers = append(i.Layers, Layer{DiffID: id.String(), Size: -1})
	}
	i.History = historyOf(f.History, i.Layers)
	return i, nil
}

// configFile is an image's configuration, as far as it is used
// (https://github.com/opencontainers/image-spec/blob/main/config.md).
type configFile struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       v1.Config `json:"config"`
	RootFS       struct {
		Type    string    `json:"type"`
		DiffIDs []v1.Hash `json:"diff_ids"`
	} `json:"rootfs"`
	History []step `json:"history"`
}

// step is one step of an image's history.
type step struct {
	Created    lenientTime `json:"created"`
	CreatedBy  string      `json:"created_by"`
	Comment    string      `json:"comment"`
	EmptyLayer bool        `json:"empty_layer"`
}

// lenientTime is a time for people to read. Some builders write "" or a number;
// anything that is not a time is ignored.
type lenientTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *lenientTime) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &t.Time) != nil {
		t.Time = time.Time{}
	}
	return nil
}

func configOf(c v1.Config) api.ImageConfig {
	return api.ImageConfig{
		Env: c.Env, User: c.User, WorkingDir: c.WorkingDir, Entrypoint: c.Entrypoint, Cmd: c.Cmd, StopSignal: c.StopSignal,
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)), Labels: c.Labels,
	}
}

// historyOf assigns to each step of the history the layer that it made. A history may
// list fewer or more layers than there are: it is for people to read.
func historyOf(steps []step, layers []Layer) []api.ImageHistory {
	var out []api.ImageHistory
	n := 0
	for _, s := range steps {
		h := api.ImageHistory{CreatedBy: s.CreatedBy, Comment: s.Comment}
		if !s.Created.IsZero() {
			h.CreatedAt = &s.Created.Time
		}
		if !s.EmptyLayer && n < len(layers) {
			h.Layer = layers[n].DiffID
			n++
		}
		out = append(out, h)
	}
	return out
}
