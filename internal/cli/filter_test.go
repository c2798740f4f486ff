package cli

import (
	"strings"
	"testing"

	"banger/api"
)

func TestFilters(t *testing.T) {
	dev, web := vm("dev", api.StateRunning), vm("web-1", api.StateStopped)
	dev.Image, web.Image = "debian", "docker.io/library/nginx:1"
	dev.Labels, web.Labels = map[string]string{"team": "db", "empty": ""}, map[string]string{"team": "web", "note": "a=b"}
	for texts, want := range map[string]string{
		"":                                  "dev web-1",
		"name=dev":                          "dev",
		"name=de":                           "",
		"name=web-*":                        "web-1",
		"name=dev name=web-1":               "dev web-1",
		"name=*e* state=stopped":            "web-1",
		"state=s*":                          "web-1",
		"state=running state=failed":        "dev",
		"image=*nginx*":                     "web-1",
		"image=.*":                          "",
		"driver=" + dev.Driver:              "dev web-1",
		"driver=other":                      "",
		"label=team":                        "dev web-1",
		"label=team=web":                    "web-1",
		"label=team=web label=team=db":      "",
		"label=team label=note=a=b":         "web-1",
		"label=empty=":                      "dev",
		"label=empty=x":                     "",
		"label=none":                        "",
		"label=team=w*":                     "",
		"state=running label=team image=d*": "dev",
	} {
		f, err := parseFilters(strings.Fields(texts))
		var got []string
		for _, v := range []api.VM{dev, web} {
			if f.matches(v) {
				got = append(got, v.Name)
			}
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%s: %s, %v", texts, got, err)
		}
	}
	for _, bad := range []string{"", "name", "=x", "name=", "nmae=x", "NAME=x", "state=sleeping", "state=", "label=", "label==x", "label=a b", "label", "id=1"} {
		if _, err := parseFilters([]string{bad}); api.KindOf(err) != api.KindInvalid || api.AsError(err).Hint == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
