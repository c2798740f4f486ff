package lab

import (
	"fmt"
	"strings"
)

// systemd-resolved is in the lab's image and does not run there: these start it as the host's
// resolver, and put things back. Its configuration is in /run, and ends with the boot.
const (
	resolvedOn = `mkdir -p /run/systemd/resolved.conf.d && printf '[Resolve]\nDNS=203.0.113.53\n' > /run/systemd/resolved.conf.d/lab.conf &&
systemctl start systemd-resolved && ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf`
	resolvedOff = `rm -rf /etc/resolv.conf /run/systemd/resolved.conf.d; printf 'nameserver 203.0.113.53\n' > /etc/resolv.conf; systemctl stop systemd-resolved`
)

// elsewhere is the address that the lab's internet gives for every name (tools/lab/agent). So a
// question about a VM that leaves the host is seen.
const elsewhere = "198.51.100.80"

// vmNames: a VM's names resolve on the host while it runs, by systemd-resolved, and nobody else's
// names change.
func vmNames(l *Lab) {
	l.Start("a")
	n := resolver{l}
	l.Equal("a.vm, without systemd-resolved", n.resolve("a.vm"), elsewhere)
	l.Contains("the status", l.Run("banger system status"), "do not resolve: systemd-resolved does not run")
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "systemd-resolved does not run")
	l.Wait("bangerd answers other resolvers", func() bool { return n.direct("a.vm") == l.VM("a").Address })

	defer l.Try(resolvedOff)
	l.Run(resolvedOn)
	n.becomes("a.vm", l.VM("a").Address)
	n.becomes("a.banger", l.VM("a").Address)
	l.Equal("another name", n.resolve("elsewhere.test"), elsewhere)
	l.Equal("a VM that does not exist", n.resolve("nobody.vm"), "")
	l.Contains("the link's domains", l.Run("resolvectl domain banger-dns0"), "~vm")
	l.Contains("the status", l.Run("banger system status"), "NAME.vm, NAME.banger")
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "they resolve (tried: 1)")
	l.Guest("a", "echo page > /index.html; busybox httpd -p 9000 -h /")
	l.Equal("a page, by the VM's name", webClient{l, "a"}.page("a.vm", 9000), "page")

	// A guest asks the network's resolver, and does not reach banger's.
	l.Contains("names, in a guest", webClient{l, "a"}.get("http://internet.test/"), "internet")
	webClient{l, "a"}.refused("banger's resolver", "http://169.254.213.53:53/")

	// The records count at once.
	l.Dev("banger vm rename a b")
	l.Equal("the new name", n.resolve("b.vm"), l.VM("b").Address)
	l.Equal("the earlier name", n.resolve("a.vm"), "")
	l.Dev("banger vm stop b")
	l.Equal("the name of a stopped VM", n.resolve("b.vm"), "")
	l.Boot("b", "banger vm start b")
	l.Equal("the name after a start", n.resolve("b.vm"), l.VM("b").Address)
	n.outlive()
	n.taken()
}

// resolver asks the host's resolver.
type resolver struct{ lab *Lab }

// resolve returns the address of a name, or "" if it has none.
func (n resolver) resolve(name string) string {
	return strings.TrimSpace(n.lab.Try("getent ahostsv4 %s | awk '{print $1; exit}'", name).Stdout)
}

// direct asks bangerd itself for an address, as a resolver does that was set up by hand: without
// systemd-resolved, glibc asks the only server of a resolv.conf of its own.
func (n resolver) direct(name string) string {
	const asked = `unshare --mount sh -c 'printf "nameserver 169.254.213.53\n" > /run/resolv.lab && mount --bind /run/resolv.lab /etc/resolv.conf && getent ahostsv4 %s' | awk '{print $1; exit}'`
	return strings.TrimSpace(n.lab.Try(asked, name).Stdout)
}

// becomes waits until a name has an address: the root helper looks every 15 seconds.
func (n resolver) becomes(name, address string) {
	n.lab.Wait(fmt.Sprintf("%s is %s", name, address), func() bool { return n.resolve(name) == address })
}

// outlive: names outlive every daemon that has a part in them.
func (n resolver) outlive() {
	l, address := n.lab, n.lab.VM("b").Address
	for _, command := range []string{
		"systemctl restart bangerd", "systemctl restart bangerd-root", "systemctl kill --signal=KILL --kill-whom=main bangerd-root",
		"banger system restart", "systemctl restart systemd-resolved", "ip link delete banger-dns0",
	} {
		l.Run(command)
		l.Answering()
		n.becomes("b.vm", address)
	}
	l.Run("systemctl stop bangerd bangerd-root")
	l.Equal("what systemd-resolved knows without the helper", lines(l.Run("resolvectl domain"), "~vm"), "")
	l.Equal("another name, without banger", n.resolve("elsewhere.test"), elsewhere)
	l.Run("systemctl start bangerd-root bangerd")
	l.Answering()
	n.becomes("b.vm", address)
}

// taken: the doctor finds who else has a name or a domain.
func (n resolver) taken() {
	l := n.lab
	l.Run("cp -p /etc/hosts /root/kept.hosts && echo 192.0.2.1 b.vm >> /etc/hosts")
	l.Contains("the doctor, about /etc/hosts", l.TryDev("banger doctor").Output, "b.vm is 192.0.2.1 on this host")
	l.Run("cp -p /root/kept.hosts /etc/hosts && rm /root/kept.hosts")
	l.Run("resolvectl dns wan0 203.0.113.53 && resolvectl domain wan0 '~vm'")
	l.Contains("the doctor, about another link", l.TryDev("banger doctor").Output, "vm of wan0")
	l.Run("resolvectl revert wan0")
}

// isolationNAT: a guest without NAT begins nothing, and the host reaches it.
func isolationNAT(l *Lab) {
	create := "banger vm create " + start + " --driver %s --name %s --nat=%t --start"
	l.Boot("vault", fmt.Sprintf(create, l.driver, "vault", false)+" -p 127.0.0.1:9002:9000")
	l.Boot("open", fmt.Sprintf(create, l.driver, "open", true))
	l.Equal("its network", l.VM("vault").Network, "isolated")
	l.Guest("open", "echo open > /index.html; busybox httpd -p 9000 -h /")
	l.serveHostPage()
	for _, again := range []bool{false, true} {
		if again { // the network is made again
			l.Dev("banger vm stop vault")
			l.Boot("vault", "banger vm start vault")
		}
		l.Guest("vault", "echo vault > /index.html; busybox httpd -p 9000 -h /")
		vault, closed := l.VM("vault"), webClient{l, "vault"}
		link := l.Run("ip -br addr show dev bv%s | awk '{sub(\"/.*\", \"\", $3); print $3}'", vault.ID)
		for what, url := range map[string]string{
			"the internet":             "http://" + elsewhere + "/",
			"a name":                   "http://internet.test/",
			"the host, by its link":    "http://" + link + ":9001/",
			"the host, by its address": "http://203.0.113.2:9001/",
			"the host, by the gateway": "http://10.0.2.2:9001/",
			"another guest":            "http://" + l.VM("open").Address + ":9000/",
			"the clouds' metadata":     "http://169.254.169.254/",
		} {
			closed.refused(what, url)
		}
		l.Guest("vault", "busybox ping -c 1 -W 5 10.0.2.2")
		l.Equal("its page, from the host", closed.page(vault.Address, 9000), "vault")
		l.Equal("its page, by a published port", closed.page("127.0.0.1", 9002), "vault")
	}
	l.Contains("the internet, from a guest with NAT", webClient{l, "open"}.get("http://"+elsewhere+"/"), "internet")
	l.endHostPage()
	l.NoLeaks()
}
