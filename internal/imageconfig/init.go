package imageconfig

import (
	"path"
	"slices"

	"banger/api"
)

// InitLabel is the label with which an image sets process 1.
const InitLabel = "banger.init"

// initPrograms are the commands of images that mean "boot me". "/init" is not one: it
// is s6-overlay's, which supervises one service and is not a system's init.
var initPrograms = []string{"/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"}

// CheckInit refuses values that are not an init.
func CheckInit(init string) error {
	switch init {
	case api.InitAgent, api.InitSystemd, api.InitAuto:
		return nil
	}
	if api.IsInitPath(init) {
		return nil
	}
	return api.Errorf(api.KindInvalid, "unknown init %.40q", init).WithHint("use agent, systemd, auto, or the path of a program in the image")
}

// ChooseInit chooses process 1 of a guest: the requested one, or if that is left to the image, the one
// of its setting, its label, and then its command.
func ChooseInit(wanted string, c *api.ImageConfig) string {
	switch {
	case wanted != api.InitAuto:
		return wanted
	case c == nil:
		return api.InitAgent
	case isInit(c.Init):
		return c.Init
	case isInit(c.Labels[InitLabel]):
		return c.Labels[InitLabel]
	case BootsItself(*c):
		return api.InitSystemd
	}
	return api.InitAgent
}

func isInit(s string) bool { return s == api.InitAgent || s == api.InitSystemd || api.IsInitPath(s) }

// BootsItself reports whether the image's command is an init. The whole command must be one: images
// whose entrypoint prepares something and then executes init need that entrypoint.
func BootsItself(c api.ImageConfig) bool {
	command := slices.Concat(c.Entrypoint, c.Cmd)
	return len(command) > 0 && slices.Contains(initPrograms, path.Clean(command[0]))
}

// RunsAs reports whether the image's command is the program that is process 1 anyway.
func RunsAs(c api.ImageConfig, init string) bool {
	command := slices.Concat(c.Entrypoint, c.Cmd)
	return api.IsInitPath(init) && len(command) > 0 && path.Clean(command[0]) == init
}
