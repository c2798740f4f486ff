package lab

import "strings"

// isolation: what a guest can and cannot reach. The lab's own "internet" is a namespace
// behind the lab host (tools/lab/agent).
func isolation(l *Lab) {
	l.Start("a")
	l.Start("b")
	web := webClient{l, "a"}
	l.Guest("b", "echo secret > /index.html; busybox httpd -p 9000 -h /")
	l.serveHostPage()
	b := l.VM("b").Address
	if b == "" {
		l.Failf("VM b has no address: %+v", l.VM("b"))
	}
	// Each of them answers the clients that are allowed.
	l.Equal("the guest's page, from the host", web.page(b, 9000), "secret")
	l.Equal("the host's page, from the host", web.page("127.0.0.1", 9001), "host")
	l.Contains("the internet, from the host", web.page("198.51.100.80", 80), "internet")

	page := web.get("http://198.51.100.80/")
	l.Contains("the internet, from a guest", page, "internet 198.51.100.80")
	if strings.Contains(page, "10.213.") || strings.Contains(page, "10.0.2.") {
		l.Failf("the guest's address was not translated: %s", page)
	}
	l.Contains("names", web.get("http://internet.test/"), "internet")

	link := l.Run("ip -br addr | awk '$1 ~ /^bv/ {sub(\"/.*\", \"\", $3); print $3; exit}'")
	for what, url := range map[string]string{
		"another guest":                 "http://" + b + ":9000/",
		"the host, by its link":         "http://" + link + ":9001/",
		"the host, by its address":      "http://203.0.113.2:9001/",
		"the host, by the gateway":      "http://10.0.2.2:9001/",
		"the clouds' metadata":          "http://169.254.169.254/",
		"its own address, from outside": "http://" + l.VM("a").Address + ":9000/",
	} {
		web.refused(what, url)
	}
	l.Contains("the metadata service, from the host: it is there", web.page("169.254.169.254", 80), "internet")

	// A wrong source address of the guest reaches nothing; the right one does again.
	l.Guest("a", "ip addr del 10.0.2.15/24 dev eth0; ip addr add 10.0.2.77/24 dev eth0; ip route add default via 10.0.2.2")
	web.refused("the internet, with a spoofed address", "http://198.51.100.80/")
	l.Guest("a", "ip addr del 10.0.2.77/24 dev eth0; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2")
	l.Contains("the internet, with the right address again", web.get("http://198.51.100.80/"), "internet")
	l.endHostPage()
}

// serveHostPage serves a page of the host, on all of its addresses. An earlier try, which has failed, may still do
// that.
func (l *Lab) serveHostPage() {
	l.endHostPage()
	l.Run("mkdir -p /root/www && echo host > /root/www/index.html && busybox httpd -p 0.0.0.0:9001 -h /root/www")
}

// endHostPage ends the server of that page. The pattern does not match the shell that has it in its command line.
func (l *Lab) endHostPage() { l.Run("while pkill -f 'http[d] -p 0.0.0.0:9001'; do sleep 0.1; done") }

// webClient gets web pages from the host and from one guest.
type webClient struct {
	lab   *Lab
	guest string
}

// page returns a page as seen from the host. The static wget of busybox does not work
// with the host's name service.
func (w webClient) page(address string, port int) string {
	answer := w.lab.Run(`timeout 20 bash -c 'exec 3<>/dev/tcp/%s/%d; printf "GET / HTTP/1.0\r\nHost: x\r\n\r\n" >&3; cat <&3'`, address, port)
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	return strings.TrimSpace(body)
}

// get returns a page as seen from the guest.
func (w webClient) get(url string) string {
	return w.lab.Guest(w.guest, "busybox timeout 15 busybox wget -q -O - "+url)
}

// refused ends the scenario if the guest reaches a page: it has to be refused, which is
// wget's status 1, or to get no answer in time.
func (w webClient) refused(what, url string) {
	r := w.lab.TryDev("banger vm exec %s -- busybox timeout 6 busybox wget -q -O - %s", w.guest, url)
	if r.Status != 1 && r.Status != 143 && r.Status != 124 {
		w.lab.Failf("a guest reaches %s (%s): status %d, %s", what, url, r.Status, r.Output)
	}
}

// isolationRules: banger's table is loaded again when all rules are flushed, works when
// another table is flushed, and changes no other table.
func isolationRules(l *Lab) {
	l.Start("a")
	web := webClient{l, "a"}
	l.Run("nft add table inet other && nft add chain inet other c '{ type filter hook input priority 10; policy accept; }' && nft add rule inet other c tcp dport 4444 accept")
	others := l.Run("nft list table inet other")
	l.Run("nft flush table inet other")
	l.Contains("the internet, after another table was flushed", web.get("http://198.51.100.80/"), "internet")
	l.Run("nft delete table inet other")
	l.Run("nft flush ruleset")
	l.Wait("banger's table is loaded again", func() bool { return l.Try("nft list table inet banger >/dev/null").Status == 0 })
	l.Contains("the internet, after a flush", web.get("http://198.51.100.80/"), "internet")
	web.refused("the clouds' metadata", "http://169.254.169.254/")
	l.Contains("the other table", others, "dport 4444")

	// The doctor reports a firewall that drops forwarded packets, and what to type.
	l.Run("nft add table inet strict && nft add chain inet strict forward '{ type filter hook forward priority 0; policy drop; }'")
	web.refused("the internet, through a firewall that drops", "http://198.51.100.80/")
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "strict")
	l.Run("nft delete table inet strict")
	l.Contains("the internet, without it", web.get("http://198.51.100.80/"), "internet")
}

// isolationNone: a VM without a network has no interfaces.
func isolationNone(l *Lab) {
	l.Dev("banger vm create %s --driver %s --network none --name quiet --start", start, l.driver)
	l.Equal("its interfaces", l.Guest("quiet", "ls /sys/class/net"), "lo")
	vm := l.VM("quiet")
	l.Equal("its namespace's interfaces", l.Run("ip netns exec banger-%s ls /sys/class/net", vm.ID), "lo")
	l.NoLeaks()
	l.Dev("banger vm delete --force quiet")
	l.gone(vm.ID)
}
