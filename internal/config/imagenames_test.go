package config

import (
	"strings"
	"testing"
)

func TestImageNames(t *testing.T) {
	path := write(t, "image = \"work\"\n[image_names]\nwork = \"registry.example.com:5000/team/image:2\"\narch = \"ghcr.example/arch\"\n\"py3.x\" = \"python:3\"\n")
	c, err := Load(path, noEnv, laptop)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"work": "registry.example.com:5000/team/image:2", "arch": "ghcr.example/arch", "py3.x": "python:3",
		"alma": "docker.io/library/almalinux",
	} {
		if c.ImageNames[name] != want {
			t.Errorf("%s is %q, want %q", name, c.ImageNames[name], want)
		}
	}
	want := map[string]string{
		"image_names.work": "file", "image_names.arch": "file", "image_names.py3.x": "file", "image_names.alma": "default", "image": "file",
	}
	for _, v := range c.API().Values {
		if want[v.Key] == v.Origin {
			delete(want, v.Key)
		}
	}
	if len(want) > 0 {
		t.Errorf("not shown, or with another origin: %v", want)
	}
	if other, err := Load("/nonexistent", noEnv, laptop); err != nil || other.ImageNames["arch"] != builtinNames["arch"] {
		t.Errorf("the built-in table has changed: %v %v", other.ImageNames, err)
	}
}

func TestBadImageNames(t *testing.T) {
	const head = "[image_names]\n"
	for text, want := range map[string]string{
		"image_names = \"alma\"":                           "line 1: image_names is a table",
		"[[image_names]]\na = \"b\"":                       "line 1: image_names is a table",
		head + "a = 1":                                     "line 2: image_names.a: use a reference of an image in quotes",
		head + "a.b = \"c\"":                               "image_names.a: use a reference of an image in quotes",
		head + "ok = \"a/b\"\na = \"https://b.example/c\"": `line 3: image_names.a: "https://b.example/c" is not a valid reference of an image: remove "https://"`,
		head + "a = \"/root.tar\"":                         "it looks like a file",
		head + "a = \"\"":                                  "use name, registry/name",
		head + "a = \"b:\"":                                "use name, registry/name",
		head + "a = \"Alpine\"":                            "names of images must be in lower case",
		head + "a = \"b@sha256:00\"":                       "use name, registry/name",
		head + "Work = \"b\"":                              `line 2: image_names.Work: "Work" is not a valid short name`,
		head + "\"a/b\" = \"c\"":                           `"a/b" is not a valid short name`,
		head + "\"alma:9\" = \"c\"":                        `"alma:9" is not a valid short name`,
		"kernel = \"\"\n" + head + "kernel = \"6.1\"":      "line 3: image_names.kernel: kernel is a setting: move it above [image_names]",
		"image_names.a = \"B\"":                            "line 1: image_names.a: ",
		head + "a = \"b\"\na = \"c\"":                      "line 3: ",
		head + "a = \"" + strings.Repeat("b", 300) + "\"":  "too long",
	} {
		path := write(t, text)
		_, err := Load(path, noEnv, laptop)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v; want %q and the file's name in it", text, err, want)
		}
	}
}

func TestBuiltinNamesAreGood(t *testing.T) {
	for name, ref := range builtinNames {
		if err := checkShortName(name); err != nil {
			t.Error(err)
		}
		if err := checkReference(ref); err != nil || !strings.HasPrefix(ref, "docker.io/") || strings.ContainsAny(ref, ":@") {
			t.Errorf("%s: %q: %v; want one of docker.io without a tag, so that a tag of the user's fits", name, ref, err)
		}
	}
}
