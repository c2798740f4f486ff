package treesync

import (
	"path"
	"slices"

	"banger/internal/workspace/objects"
)

// settle has the side that is kept win, too, if one side has a file where the other one has a
// directory: what the loser has there gives way.
func (p *pass) settle() {
	switch p.Keep {
	case KeepHost:
		p.toHost, p.toGuest = yield(p.toHost, p.toGuest, func(i *item) (objects.Entry, objects.Entry) { return i.guest, i.host })
	case KeepGuest:
		p.toGuest, p.toHost = yield(p.toGuest, p.toHost, func(i *item) (objects.Entry, objects.Entry) { return i.host, i.guest })
	}
}

// yield moves the losers for which there is no place to the winners. versions returns the loser's
// version of an item, and the winner's.
func yield(losers, winners []*item, versions func(*item) (loser, winner objects.Entry)) (left, all []*item) {
	files, dirs := map[string]bool{}, map[string]bool{} // of the winners
	for _, i := range winners {
		if _, wins := versions(i); wins.Mode == "" {
			continue
		}
		files[i.path] = true
		for dir := path.Dir(i.path); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	gives := func(i *item) bool {
		loses, _ := versions(i)
		return loses.Mode != "" && (dirs[i.path] || above(path.Dir(i.path), files) != "")
	}
	for _, i := range losers {
		if gives(i) {
			winners = append(winners, i)
		}
	}
	return slices.DeleteFunc(losers, gives), winners
}
