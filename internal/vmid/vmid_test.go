package vmid

import "testing"

func TestNamesCarryTheIDBothWays(t *testing.T) {
	const id = "0123456789ab"
	for name, back := range map[string]func(string) (string, bool){
		Unit(id): FromUnit, Device(id): FromDevice, Link(id): FromLink,
	} {
		if got, ok := back(name); !ok || got != id {
			t.Errorf("%s gives %q, %v", name, got, ok)
		}
		for _, foreign := range []string{"", "x" + name, name + "x", "sshd.service", name[:len(name)-1], "banger-vm-.service"} {
			if got, ok := back(foreign); ok {
				t.Errorf("%q is taken for that of VM %s", foreign, got)
			}
		}
	}
	if got, ok := FromNetns(Netns(id)); !ok || got != id {
		t.Error(got, ok)
	}
	if n := len(Link(id)); n > 15 {
		t.Errorf("an interface's name has at most 15 characters, not %d", n)
	}
}

func TestValid(t *testing.T) {
	for text, want := range map[string]bool{
		"0123456789ab": true, "0123456789aB": false, "0123456789a": false, "0123456789abc": false,
		"../456789abc": false, "": false, "0123456789ab\n": false,
	} {
		if Valid(text) != want {
			t.Errorf("Valid(%q) is %v", text, !want)
		}
	}
}
