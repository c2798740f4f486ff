package harness

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Image is an image of two layers, busybox and what was changed in it, in the
// parts that archives of images hold.
type Image struct {
	Arch   string
	Config []byte
	Layers [][]byte // tar archives
}

// BusyboxImage makes the image, whose configuration says what to run.
func BusyboxImage(arch string) (Image, error) {
	dir, err := os.MkdirTemp("", "banger-image-")
	if err != nil {
		return Image{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "rootfs.tar")
	if err := BusyboxTar(path); err != nil {
		return Image{}, err
	}
	base, err := os.ReadFile(path)
	if err != nil {
		return Image{}, err
	}
	over, err := Tar([][2]string{{"etc/motd", "made of layers\n"}, {"bin/.wh.yes", ""}})
	if err != nil {
		return Image{}, err
	}
	i := Image{Arch: arch, Layers: [][]byte{base, over}}
	i.Config, err = json.Marshal(map[string]any{
		"architecture": arch, "os": "linux",
		"config": map[string]any{"Env": []string{"GREETING=hello"}, "Cmd": []string{"cat", "/etc/motd"}, "WorkingDir": "/etc"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{Digest(base), Digest(over)}},
		"history": []map[string]any{
			{"created": time.Unix(1700000000, 0).UTC(), "created_by": "ADD busybox /"},
			{"created": time.Unix(1700000060, 0).UTC(), "created_by": "ENV GREETING=hello", "empty_layer": true},
			{"created": time.Unix(1700000120, 0).UTC(), "created_by": "RUN rm /bin/yes"},
		},
	})
	return i, err
}

// Saved returns the files that `docker save` would write.
func (i Image) Saved() [][2]string {
	config := hexOf(i.Config) + ".json"
	files := [][2]string{{config, string(i.Config)}}
	var layers []string
	for _, l := range i.Layers {
		name := hexOf(l) + "/layer.tar"
		layers = append(layers, name)
		files = append(files, [2]string{name, string(l)})
	}
	manifest, _ := json.Marshal([]map[string]any{{"Config": config, "RepoTags": []string{"example/layers:1"}, "Layers": layers}})
	return append(files, [2]string{"manifest.json", string(manifest)})
}

// Layout returns the files of an OCI layout of images for several platforms.
func Layout(images ...Image) [][2]string {
	files := [][2]string{{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`}}
	blob := func(data []byte, kind string) map[string]any {
		if file := [2]string{"blobs/sha256/" + hexOf(data), string(data)}; !slices.Contains(files, file) {
			files = append(files, file)
		}
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": Digest(data), "size": len(data)}
	}
	var manifests []map[string]any
	for _, i := range images {
		var layers []map[string]any
		for _, l := range i.Layers {
			layers = append(layers, blob(l, "layer.v1.tar"))
		}
		data, _ := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
			"config": blob(i.Config, "config.v1+json"), "layers": layers,
		})
		d := blob(data, "manifest.v1+json")
		d["platform"] = map[string]string{"os": "linux", "architecture": i.Arch}
		manifests = append(manifests, d)
	}
	index, _ := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": manifests})
	return append(files, [2]string{"index.json", string(index)})
}

// Tar makes a tar archive of files, in their order.
func Tar(files [][2]string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// Digest is the digest of data, as images have it.
func Digest(data []byte) string { return "sha256:" + hexOf(data) }

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
