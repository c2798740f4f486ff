package leaks

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const a, b = "aaaaaaaaaaaa", "bbbbbbbbbbbb"

// all is what a running VM has.
func all(id string) []Object {
	return []Object{
		{Unit, "banger-vm-" + id + ".service", id}, {Process, "4711", id}, {DM, "banger-" + id, id}, {Loop, "loop1", id},
		{Netns, "banger-" + id, id}, {Link, "bv" + id, id}, {Jail, id, id}, {Loop, "loop0", ""}, {Boot, "digest", ""},
	}
}

// without leaves out kinds.
func without(objects []Object, kinds ...string) []Object {
	return slices.DeleteFunc(objects, func(o Object) bool { return o.ID != "" && slices.Contains(kinds, o.Kind) })
}

func running(id string) VM {
	return VM{ID: id, State: Running, Snapshot: true, Boot: []string{"digest"}}
}

func TestCompare(t *testing.T) {
	stopped := VM{ID: a, Snapshot: true, Boot: []string{"digest"}}
	changing := running(a)
	changing.State = Changing
	offline, plain := running(a), running(a)
	offline.NoNetwork, plain.Snapshot = true, false
	leak := func(o Object, why string) Finding { return Finding{Object: o, Why: why} }
	lacks := func(kind, name string) Finding {
		return Finding{Object{kind, name, a}, true, "VM " + a + " runs without it"}
	}
	const noVM, noRun, noSnapshot = "there is no VM " + a, "VM " + a + " does not run", "no running VM has a snapshot as its disk"
	for name, c := range map[string]struct {
		objects []Object
		vms     []VM
		want    []Finding
	}{
		"nothing":                 {nil, nil, nil},
		"as it should be":         {append(all(a), all(b)[:7]...), []VM{running(a), running(b)}, nil},
		"stopped and clean":       {[]Object{{Boot, "digest", ""}}, []VM{stopped}, nil},
		"no unit (older layout)":  {without(all(a), Unit), []VM{running(a)}, nil},
		"no network":              {without(all(a), Link), []VM{offline}, nil},
		"plain disk":              {without(all(a), DM)[:6], []VM{plain}, nil},
		"changing: has all":       {all(a), []VM{changing}, nil},
		"changing: has nothing":   {nil, []VM{changing}, nil},
		"changing: base for free": {[]Object{{Loop, "loop0", ""}}, []VM{changing}, nil},
		"belongs to no VM": {all(a), []VM{running(b)}, append([]Finding{
			leak(Object{DM, "banger-" + a, a}, noVM), leak(Object{Jail, a, a}, noVM), leak(Object{Link, "bv" + a, a}, noVM),
			leak(Object{Loop, "loop1", a}, noVM), leak(Object{Netns, "banger-" + a, a}, noVM), leak(Object{Process, "4711", a}, noVM),
			leak(Object{Unit, "banger-vm-" + a + ".service", a}, noVM),
		}, lacksAll(b)...)},
		"belongs to a stopped VM": {[]Object{{Mount, "/x", a}, {Loop, "loop0", ""}}, []VM{stopped}, []Finding{
			leak(Object{Loop, "loop0", ""}, noSnapshot), leak(Object{Mount, "/x", a}, noRun),
		}},
		"no VM needs it": {[]Object{{Boot, "old", ""}, {Netns, "banger-x", ""}}, []VM{stopped}, []Finding{
			leak(Object{Boot, "old", ""}, "no VM boots from it"), leak(Object{Netns, "banger-x", ""}, "its name does not contain the id of a VM"),
		}},
		"runs and has nothing": {nil, []VM{running(a)}, lacksAll(a)},
		"its process is gone": {without(all(a), Process, Unit), []VM{running(a)}, []Finding{
			lacks(Process, a), lacks(Unit, "banger-vm-"+a+".service"),
		}},
		"its link is gone": {without(all(a), Link), []VM{running(a)}, []Finding{lacks(Link, "bv"+a)}},
		"a link too many":  {all(a), []VM{offline}, []Finding{leak(Object{Link, "bv" + a, a}, "VM "+a+" has no network")}},
		"a snapshot too many": {all(a)[:7], []VM{plain}, []Finding{
			leak(Object{DM, "banger-" + a, a}, "the disk of VM "+a+" is not a snapshot"),
		}},
	} {
		rand.Shuffle(len(c.objects), func(i, j int) { c.objects[i], c.objects[j] = c.objects[j], c.objects[i] })
		if diff := cmp.Diff(c.want, Compare(c.objects, c.vms)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// lacksAll is what is said of a running VM that has nothing.
func lacksAll(id string) []Finding {
	var all []Finding
	for _, o := range []Object{
		{DM, "banger-" + id, id}, {Jail, id, id}, {Link, "bv" + id, id}, {Loop, "banger-" + id, id},
		{Netns, "banger-" + id, id}, {Process, id, id}, {Unit, "banger-vm-" + id + ".service", id},
	} {
		all = append(all, Finding{o, true, "VM " + id + " runs without it"})
	}
	return all
}
