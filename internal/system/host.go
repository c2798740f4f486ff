package system

import (
	"bytes"
	"context"
	"os"
	"strings"
	"time"

	"banger/api"
	"banger/internal/host/execx"
	"banger/internal/host/rootexec"
	"banger/internal/host/systemd"
)

// ThisHost returns this machine. The caller adds the functions that access banger's
// daemons.
func ThisHost() *Host {
	return &Host{
		Root: "/", UID: os.Geteuid(), Chown: os.Lchown, Getent: getent, Now: time.Now,
		Connect: func(ctx context.Context) (Manager, error) {
			b, err := systemd.Connect(ctx)
			if err != nil {
				return nil, err
			}
			return b, nil
		},
	}
}

// getent looks up an account that is not in /etc/passwd: nsswitch.conf(5) may name
// other sources, which only the C library reads.
func getent(ctx context.Context, name string) (string, error) {
	var out bytes.Buffer
	if err := rootexec.Run(ctx, execx.Cmd{Name: "getent", Args: []string{"passwd", "--", name}, Stdout: &out}); err != nil {
		return "", nil // the account, or the program, does not exist
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	return line, nil
}

// needRoot refuses work that requires root.
func (h *Host) needRoot(command string) error {
	if h.UID == h.Superuser {
		return nil
	}
	return api.Errorf(api.KindDenied, "cannot %s the system's banger: only root can", command).
		WithHint("sudo banger system %s", command)
}

// needSystemd refuses a machine whose init is another one (sd_booted(3)).
func (h *Host) needSystemd() error {
	if info, err := os.Stat(h.files().path("/run/systemd/system")); err == nil && info.IsDir() {
		return nil
	}
	return api.Errorf(api.KindUnsupported, "cannot run banger as a service: this machine is not run by systemd").
		WithHint("banger vm run   needs no installation")
}

// installation is what an installation consists of.
type installation struct {
	programs    programDir
	units       unitFiles
	rules       rulesFile
	record      recordFile
	owners      owners
	directories directories
	forwarding  forwarding
	updates     updates
	daemons     daemons
}

func (h *Host) installation() installation {
	t := h.files()
	return installation{
		programs: programDir{t}, units: unitFiles{t}, rules: rulesFile{t}, record: recordFile{t},
		owners: owners{t, h.Getent}, directories: directories{t}, forwarding: forwarding{t},
		updates: updates{t}, daemons: daemons{h.Connect, h.AskHelper, h.AskDaemon},
	}
}

func (h *Host) files() tree { return tree{root: h.Root, superuser: h.Superuser, chown: h.Chown} }
