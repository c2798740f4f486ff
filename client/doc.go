// Package client is the Go client of bangerd, the daemon of banger. It talks HTTP over the
// daemon's Unix socket, and starts nothing: the daemon has to run. `banger daemon status`
// prints the path of the socket.
//
//	c := client.New("/home/alice/.local/share/banger/bangerd.sock")
//	vm, err := c.VMs().Create(ctx, api.CreateVM{Image: "alpine:3.20", Start: true}, nil)
//	…
//	s, err := c.Guest(vm.ID).Exec(ctx, api.Exec{Argv: []string{"uname", "-a"}})
//	…
//	go io.Copy(os.Stderr, s.Stderr)
//	io.Copy(os.Stdout, s.Stdout)
//	exit, err := s.Wait(ctx)
//
// The methods are grouped by what they are about: [Client.VMs], [Client.Images],
// [Client.Kernels], [Client.Operations], [Client.Daemon], and [Client.Guest] for the inside
// of a running VM. A ref is a name or an id. Requests and answers are the types of package
// api, and so are the errors: api.KindOf tells what kind an error is of.
//
// If the daemon ends during a request, the request is made again on a new connection. One
// that changes something carries a key, so that it is executed once. While no daemon
// listens, a request fails with api.KindNotFound, unless Options.Dial waits for one; open
// sessions in guests wait for a minute. What takes long reports its progress, and is
// cancelled and undone when its context ends.
package client
