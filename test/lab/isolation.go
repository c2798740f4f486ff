package lab

import (
	"fmt"
	"strings"
)

// isolation: what a guest reaches and what it does not. The lab's own "internet" is a
// namespace behind the lab host (tools/lab/agent).
func isolation(l *Lab) {
	l.Start("a")
	l.Start("b")
	l.Guest("b", "echo secret > /index.html; busybox httpd -p 9000 -h /")
	l.Run("mkdir -p /root/www && echo host > /root/www/index.html && busybox httpd -p 0.0.0.0:9001 -h /root/www")
	b := l.VM("b").Address
	if b == "" {
		l.Failf("VM b has no address: %+v", l.VM("b"))
	}
	// Proof that each of them answers whom it may.
	l.Equal("the guest's page, from the host", l.page(b, 9000), "secret")
	l.Equal("the host's page, from the host", l.page("127.0.0.1", 9001), "host")
	l.Contains("the internet, from the host", l.page("198.51.100.80", 80), "internet")

	page := l.Guest("a", get("198.51.100.80", 80))
	l.Contains("the internet, from a guest", page, "internet 198.51.100.80")
	if strings.Contains(page, "10.213.") || strings.Contains(page, "10.0.2.") {
		l.Failf("the guest's address was not translated: %s", page)
	}
	l.Contains("names", l.Guest("a", "busybox nslookup internet.test"), "198.51.100.80")

	link := l.Run("ip -br addr | awk '$1 ~ /^bv/ {sub(\"/.*\", \"\", $3); print $3; exit}'")
	for what, at := range map[string]struct {
		address string
		port    int
	}{
		"another guest":                 {b, 9000},
		"the host, by its link":         {link, 9001},
		"the host, by its address":      {"203.0.113.2", 9001},
		"the host, by the gateway":      {"10.0.2.2", 9001},
		"the clouds' metadata":          {"169.254.169.254", 80},
		"its own address, from outside": {l.VM("a").Address, 9000},
	} {
		l.refused(what, at.address, at.port)
	}
	l.Contains("the metadata service, from the host: it is there", l.page("169.254.169.254", 80), "internet")

	// A source address that is not the guest's goes nowhere; the right one again does.
	l.Guest("a", "ip addr del 10.0.2.15/24 dev eth0; ip addr add 10.0.2.77/24 dev eth0; ip route add default via 10.0.2.2")
	l.refused("the internet, with a spoofed address", "198.51.100.80", 80)
	l.Guest("a", "ip addr del 10.0.2.77/24 dev eth0; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2")
	l.Contains("the internet, with the right address again", l.Guest("a", get("198.51.100.80", 80)), "internet")
	l.Run("pkill -f 'httpd -p 0.0.0.0:9001'")
}

// page is what the host gets. Busybox's wget, being static, does not survive glibc's
// name service, neither here nor in a guest.
func (l *Lab) page(address string, port int) string {
	answer := l.Run(`timeout 20 bash -c 'exec 3<>/dev/tcp/%s/%d; printf "GET / HTTP/1.0\r\nHost: x\r\n\r\n" >&3; cat <&3'`, address, port)
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	return strings.TrimSpace(body)
}

// get is the command by which a guest gets a page, with its header.
func get(address string, port int) string {
	return fmt.Sprintf(`printf "GET / HTTP/1.0\r\nHost: x\r\n\r\n" | busybox nc -w 10 %s %d`, address, port)
}

// refused ends the scenario where the guest a reaches a page.
func (l *Lab) refused(what, address string, port int) {
	r := l.TryDev("banger vm exec a -- sh -c %s", Quote(get(address, port)))
	if strings.Contains(r.Output, "HTTP/1") || r.Status == 0 {
		l.Failf("a guest reaches %s (%s port %d): %s", what, address, port, r.Output)
	}
	if r.Status != 1 {
		l.Failf("a guest's attempt to reach %s ends with status %d: %s", what, r.Status, r.Output)
	}
}

// isolationRules: our table comes back when somebody flushes all rules, goes on when
// another's is flushed, and changes nothing of another's.
func isolationRules(l *Lab) {
	l.Start("a")
	l.Run("nft add table inet other && nft add chain inet other c '{ type filter hook input priority 10; policy accept; }' && nft add rule inet other c tcp dport 4444 accept")
	others := l.Run("nft list table inet other")
	l.Run("nft flush table inet other")
	l.Contains("the internet, after another table was flushed", l.Guest("a", get("198.51.100.80", 80)), "internet")
	l.Run("nft delete table inet other")
	l.Run("nft flush ruleset")
	l.Wait("our table is back", func() bool { return l.Try("nft list table inet banger >/dev/null").Status == 0 })
	l.Contains("the internet, after a flush", l.Guest("a", get("198.51.100.80", 80)), "internet")
	l.refused("the clouds' metadata", "169.254.169.254", 80)
	l.Contains("the other table", others, "dport 4444")

	// A firewall that drops what is forwarded is named, and what to type.
	l.Run("nft add table inet strict && nft add chain inet strict forward '{ type filter hook forward priority 0; policy drop; }'")
	l.refused("the internet, through a firewall that drops", "198.51.100.80", 80)
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "strict")
	l.Run("nft delete table inet strict")
	l.Contains("the internet, without it", l.Guest("a", get("198.51.100.80", 80)), "internet")
}

// isolationNone: a VM without a network has none.
func isolationNone(l *Lab) {
	l.Dev("banger vm create %s --driver %s --network none --name quiet --start", start, l.driver)
	l.Equal("its interfaces", l.Guest("quiet", "ls /sys/class/net"), "lo")
	vm := l.VM("quiet")
	l.Equal("its namespace's interfaces", l.Run("ip netns exec banger-%s ls /sys/class/net", vm.ID), "lo")
	l.NoLeaks()
	l.Dev("banger vm delete --force quiet")
	l.gone(vm.ID)
}
