package imageconfig

import (
	"slices"

	"banger/api"
)

// toolsScript installs the tools that mise's files in the working directory name, and runs its
// arguments with these in PATH. Without such a file it only runs them. The names are those that mise
// looks for (mise.jdx.dev, "Configuration"); 127 is a shell's status for a missing program.
const toolsScript = `found=
for f in mise.toml .mise.toml mise/config.toml .config/mise.toml .tool-versions; do
	if [ -f "$f" ]; then found=$f; fi
done
if [ -n "$found" ]; then
	command -v mise >/dev/null || {
		echo "banger: $PWD/$found names tools, but this image has no mise" >&2
		exit 127
	}
	mise trust --quiet "$found" && mise install --yes || {
		echo "banger: mise could not install the tools of $PWD/$found; the lines above say why" >&2
		exit 125
	}
	[ $# = 0 ] || exec mise exec -- "$@"
fi
[ $# = 0 ] || exec "$@"
`

// WithTools returns a command that first sets up the tools which its directory's files name, and
// then runs e; if e is a shell, it only sets up the tools. tools is the VM's Tools.
func WithTools(tools string, e api.Exec) api.Exec {
	if tools == api.ToolsMise {
		e.Argv = slices.Concat([]string{"/bin/sh", "-c", toolsScript, "banger-tools"}, e.Argv)
	}
	return e
}
