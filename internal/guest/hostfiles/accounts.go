package hostfiles

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"io"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
)

// maxAccounts bounds what is read of a guest's /etc/passwd and /etc/group, in bytes.
const maxAccounts = 1 << 20

// account is a user of a guest.
type account struct {
	uid, gid int
	home     string
}

// accounts reads a guest's users, once. The guest may write what it likes into them: it decides
// who owns a copy in it, and where its users' directories are.
type accounts struct {
	c             *guest.Client
	read          bool
	passwd, group [][]string
}

// find finds "user" or "user:group", each a name or a number. Empty means root.
func (a *accounts) find(ctx context.Context, spec string) (account, error) {
	if err := a.load(ctx); err != nil {
		return account{}, err
	}
	name, group, _ := strings.Cut(cmp.Or(spec, "0"), ":")
	found, err := a.user(name)
	if err != nil || group == "" {
		return found, err
	}
	found.gid, err = a.groupID(group)
	return found, err
}

func (a *accounts) user(name string) (account, error) {
	uid, number := id(name)
	for _, f := range a.passwd { // passwd(5)
		theirs, okUser := id(f[2])
		gid, okGroup := id(f[3])
		if okUser && okGroup && (f[0] == name || number && theirs == uid) {
			return account{uid: theirs, gid: gid, home: absolute(f[5])}, nil
		}
	}
	switch {
	case name == "root" || number && uid == 0: // exists even without an /etc/passwd
		return account{home: "/root"}, nil
	case number:
		return account{uid: uid, home: "/"}, nil
	}
	return account{}, api.Errorf(api.KindInvalid, "the guest has no user %.60q", name).WithHint(agentproto.HintUser)
}

func (a *accounts) groupID(name string) (int, error) {
	gid, number := id(name)
	if number {
		return gid, nil
	}
	for _, f := range a.group { // group(5)
		if gid, ok := id(f[2]); ok && f[0] == name {
			return gid, nil
		}
	}
	return 0, api.Errorf(api.KindInvalid, "the guest has no group %.60q", name).WithHint(agentproto.HintGroup)
}

func (a *accounts) load(ctx context.Context) (err error) {
	if a.read {
		return nil
	}
	if a.passwd, err = a.lines(ctx, "/etc/passwd", 6); err == nil {
		a.group, err = a.lines(ctx, "/etc/group", 3)
	}
	a.read = err == nil
	return err
}

// lines reads a file of the guest whose lines have fields, at least so many.
func (a *accounts) lines(ctx context.Context, file string, fields int) ([][]string, error) {
	text, err := read(ctx, a.c, file, maxAccounts)
	if api.KindOf(err) == api.KindNotFound {
		return nil, nil
	}
	var lines [][]string
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		if f := strings.Split(scanner.Text(), ":"); len(f) >= fields {
			lines = append(lines, f)
		}
	}
	return lines, err
}

// read returns the beginning of a file of the guest.
func read(ctx context.Context, c *guest.Client, file string, most int64) (string, error) {
	stream, err := c.Get(ctx, file, nil)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	in := tar.NewReader(stream)
	if _, err := in.Next(); err != nil {
		return "", api.Errorf(api.KindInternal, "cannot read %s of the guest: %w", file, err)
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	return string(text), err
}

// id parses a user or group id.
func id(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return int(n), err == nil && n < 1<<32-1 // the last one means "as it is" (chown(2))
}

// absolute makes a home directory of the guest's an absolute path.
func absolute(home string) string {
	if strings.HasPrefix(home, "/") {
		return home
	}
	return "/"
}
