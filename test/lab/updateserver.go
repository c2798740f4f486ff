package lab

import "banger/internal/paths"

// server is the unit of the server that the programs download releases from.
const server = "scenario-updates"

// releaseServer runs that server in the lab.
type releaseServer struct{ lab *Lab }

// offer makes the server serve a repository; banger forgets other ones.
func (s releaseServer) offer(repository string) {
	s.lab.Run("rm -rf %s/repository", paths.System().Update())
	s.show(repository)
}

// show makes the server serve a repository.
func (s releaseServer) show(repository string) {
	s.serve("busybox httpd -f -p 127.0.0.1:8099 -h " + updates + "/repository/" + repository)
}

// serve makes a command the server.
func (s releaseServer) serve(command string) {
	s.stop()
	s.lab.Run("systemd-run -q --collect --unit=%s %s", server, command)
	s.lab.Wait("a server listens", func() bool { return s.lab.Try("ss -Hltn sport = :8099 | grep -q .").Status == 0 })
}

func (s releaseServer) stop() {
	s.lab.Run("! systemctl -q is-active %[1]s || systemctl stop %[1]s", server)
}
