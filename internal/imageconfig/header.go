package imageconfig

import (
	"encoding/base64"
	"encoding/json"

	"banger/api"
)

// Header is the header of the daemon's answer that opens a stream. It gives a client
// what Complete needs without another request.
const Header = "Banger-Image-Config"

// FormatHeader returns the header's value: JSON in base64, because variables may
// contain any bytes. It is empty if commands need nothing from the image.
func FormatHeader(c *api.ImageConfig) string {
	if c == nil || len(c.Env) == 0 && c.User == "" && c.WorkingDir == "" {
		return ""
	}
	body, err := json.Marshal(api.ImageConfig{Env: c.Env, User: c.User, WorkingDir: c.WorkingDir})
	if err != nil {
		return "" // encoding strings cannot fail
	}
	return base64.StdEncoding.EncodeToString(body)
}

// ParseHeader parses the header's value; if it is empty, so is the configuration.
func ParseHeader(value string) (*api.ImageConfig, error) {
	if value == "" {
		return nil, nil
	}
	body, err := base64.StdEncoding.DecodeString(value)
	var c api.ImageConfig
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the image's configuration in the daemon's answer: %w", err)
	}
	return &c, nil
}
