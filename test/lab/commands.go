package lab

import "fmt"

// looks: what banger says of a running VM, and the signals that its VMM gets.
func looks(l *Lab) {
	l.Start("a")
	id := l.VM("a").ID
	l.Contains("whose memory it is", l.Dev("banger vm stats --json a"), `"source": "cgroup"`)
	l.Contains("the table", l.Dev("banger vm stats"), "a     running")
	health := l.Dev("banger vm health a")
	for _, part := range []string{"vmm", "link", "agent", "clock", "disk", "network"} {
		l.Contains("the health", health, "ok       "+part+":")
	}
	l.Contains("the round trips", l.Dev("banger vm ping -c 3 -i 200ms a"), "3 sent, 3 received, 0% loss")
	l.Fails("banger vm kill --signal STOP a", "cannot send SIGSTOP to a VMM")

	// What a running VM gets at once, and what at its next start.
	set := l.TryDev("banger vm set a --label role=web --memory 192M --disk 10G")
	l.Contains("the answer", set.Output, "at its next start")
	l.Contains("the filtered list", l.Dev("banger vm list --filter label=role=web --format '{{.name}}'"), "a")
	l.Dev("banger vm kill --signal TERM a")
	l.Equal("the reason", l.VM("a").Reason, "killed by SIGTERM")
	l.gone(id)
	l.Boot("a", "banger vm start a")
	l.Equal("the memory after a start", fmt.Sprint(l.VM("a").MemoryBytes>>20), "192")
	l.Contains("the disk after a start", l.Guest("a", "busybox df -m / | busybox awk 'END { print ($2 > 9000) }'"), "1")
}

// fileSync: the owner's files reach guests, at each start and when the owner asks for it.
func fileSync(l *Lab) {
	const config = "/etc/banger/config.toml"
	l.Run("cp %s /root/config.before && printf '[[file_sync]]\\nhost = \"~/note\"\\nguest = \"/etc/note\"\\nmode = \"0640\"\\n' >> %s", config, config)
	defer l.Try("mv /root/config.before %s", config)
	l.Dev("echo one > note")
	l.Start("a")
	l.Equal("the file after the start", l.Guest("a", "cat /etc/note; busybox stat -c %a /etc/note"), "one\n640")
	l.Dev("echo two > note && banger vm sync a")
	l.Equal("the file after vm sync", l.Guest("a", "cat /etc/note"), "two")
	l.Dev("rm note && ln -s /etc/shadow note")
	l.Contains("what became of a link", l.TryDev("banger vm sync a").Output, "which is not followed")
	l.Equal("the file after that", l.Guest("a", "cat /etc/note"), "two")
	l.Dev("rm note")
}

// registered: VMs start over the owner's own files, which are checked at each start.
func registered(l *Lab) {
	l.Dev("rm -rf fs && mkdir fs && tar -C fs -xf /lab/busybox.tar && truncate -s 64M fs.ext4 && mke2fs -q -F -t ext4 -d fs fs.ext4 && banger image register mine --rootfs $HOME/fs.ext4")
	l.Boot("a", fmt.Sprintf("banger vm create --image mine --memory 160M --vcpu 1 --driver %s --name a --start", l.driver))
	l.Guest("a", "echo kept > /kept; sync")
	l.Dev("banger vm stop a")
	l.Boot("a", "banger vm start a")
	l.Equal("what the guest had synced", l.Guest("a", "cat /kept"), "kept")
	l.Dev("banger vm stop a && banger image promote mine --name copy")

	l.Dev("cp fs.ext4 fs.before && echo x | dd of=fs.ext4 bs=1 seek=40000000 conv=notrunc status=none")
	l.Fails("banger vm start a", "its content has changed")
	l.Dev("cat fs.before > fs.ext4")
	l.Boot("a", "banger vm start a")
	l.Equal("what the guest had synced, over the file as it was", l.Guest("a", "cat /kept"), "kept")
	l.Dev("banger vm delete --force a && banger image delete mine && banger image delete copy && rm -rf fs fs.ext4 fs.before")
	l.NoLeaks()
}
