package image

import "banger/api"

// Delete removes a name, and the image with its last name; a digest removes all names.
// Of a registered image only the record is removed.
// An image in use stays, and so do its names. inUse returns the names of the VMs that use
// an image; it is called while no other call can get an image.
func (c *Cache) Delete(ref string, inUse func(digest string) []string) error {
	l := c.records.Lock()
	defer l.Unlock()
	e, err := c.records.find(l, ref)
	if err != nil {
		return err
	}
	drop := e.Names
	name, there, err := c.records.nameIn(l, ref)
	if err != nil {
		return err
	}
	if there {
		drop = []string{name}
	}
	last := len(drop) == len(e.Names)
	if users := inUse(e.Digest()); last && len(users) > 0 {
		return c.records.Used(ref, users)
	}
	if err := l.Drop(drop...); err != nil {
		return err
	}
	if last {
		return removed(e, l.Remove(e.Hex))
	}
	return nil
}

// removed says which image could not be removed, if there is an error.
func removed(e entry, err error) error {
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot delete image %s: %w", e.Digest(), err)
	}
	return nil
}

// Prune removes the images that have no name and are not used by a VM, the disks that
// are not used by a VM, and the layers that no image was made of. Registered images stay.
// inUse is that of Delete. disksInUse returns the sizes of an image's disks that VMs are
// made from; if known is false, the disks of some VMs are unknown, and none of the image is
// removed. A dry run returns the same, and removes nothing.
func (c *Cache) Prune(dry bool, inUse func(digest string) []string, disksInUse func(digest string) (sizes []int64, known bool)) (api.Pruned, error) {
	l := c.records.Lock()
	defer l.Unlock()
	pruned := api.Pruned{Removed: []string{}}
	entries, err := l.List()
	if err != nil {
		return pruned, err
	}
	var stay []entry
	for _, e := range entries {
		if !e.Object.registered() && len(e.Names) == 0 && len(inUse(e.Digest())) == 0 {
			if !dry {
				if err := removed(e, l.Remove(e.Hex)); err != nil {
					return pruned, err
				}
			}
			pruned.Add(e.Digest(), e.Object.image.SizeBytes)
			continue
		}
		stay = append(stay, e)
		if e.Object.registered() {
			continue // its files are the user's
		}
		sizes, known := disksInUse(e.Digest())
		if !known {
			continue
		}
		if err := c.sizes.prune(e, sizes, dry, &pruned); err != nil {
			return pruned, err
		}
	}
	return pruned, c.pulls.prune(stay, dry, &pruned)
}
