// Package label checks the labels of VMs: keys with values, by which a user finds VMs again. To
// banger they mean nothing.
package label

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"banger/api"
)

// Limits of the labels of one VM: they are in its record, and in every list of VMs.
const (
	maxKey   = 63
	maxValue = 255
	maxCount = 64
)

// key begins and ends with a letter or a digit, so that "KEY-" cannot be a key: it removes one.
var key = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$`)

const hint = "labels look like --label team=web; a key has at most 63 letters, digits and . _ / -, and begins and ends with a letter or a digit"

// CheckKey refuses text that is not a valid key.
func CheckKey(k string) error {
	if len(k) > maxKey || !key.MatchString(k) {
		return api.Errorf(api.KindInvalid, "%.80q is not a valid key of a label", k).WithHint(hint)
	}
	return nil
}

// Check refuses labels that a VM cannot have.
func Check(labels map[string]string) error {
	if len(labels) > maxCount {
		return api.Errorf(api.KindInvalid, "cannot give a VM %d labels: the limit is %d", len(labels), maxCount)
	}
	for k, v := range labels {
		if err := CheckKey(k); err != nil {
			return err
		}
		switch {
		case len(v) > maxValue:
			return api.Errorf(api.KindInvalid, "cannot use the label %s: its value has %d bytes, and the limit is %d", k, len(v), maxValue)
		case !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }):
			return api.Errorf(api.KindInvalid, "cannot use the label %s: its value %.40q is not printable text", k, v)
		}
	}
	return nil
}

// Change is what flags ask of the labels of a VM.
type Change struct {
	Set    map[string]string
	Remove []string
}

// Parse reads KEY=VALUE, which sets a label, and KEY-, which removes one. A key that is given
// twice is refused.
func Parse(texts []string) (Change, error) {
	var c Change
	for _, text := range texts {
		k, v, sets := strings.Cut(text, "=")
		if !sets {
			bare, removes := strings.CutSuffix(k, "-")
			if !removes {
				return c, api.Errorf(api.KindInvalid, "%.80q is not a valid label: it has no value", text).
					WithHint("KEY=VALUE sets a label, KEY- removes it")
			}
			k = bare
		}
		if err := CheckKey(k); err != nil {
			return c, err
		}
		if _, again := c.Set[k]; again || slices.Contains(c.Remove, k) {
			return c, api.Errorf(api.KindInvalid, "the label %s is given twice", k)
		}
		switch {
		case !sets:
			c.Remove = append(c.Remove, k)
		case c.Set == nil:
			c.Set = map[string]string{k: v}
		default:
			c.Set[k] = v
		}
	}
	return c, Check(c.Set)
}

// Apply returns labels after a change. It changes neither, as others may read them.
func Apply(labels, set map[string]string, remove []string) (map[string]string, error) {
	all := map[string]string{}
	for k, v := range labels {
		all[k] = v
	}
	for _, k := range remove {
		if err := CheckKey(k); err != nil {
			return nil, err
		}
		if _, both := set[k]; both {
			return nil, api.Errorf(api.KindInvalid, "cannot both set and remove the label %s", k)
		}
		delete(all, k)
	}
	for k, v := range set {
		all[k] = v
	}
	if err := Check(all); err != nil || len(all) == 0 {
		return nil, err
	}
	return all, nil
}

// Text returns labels as users write them, in the order of their keys.
func Text(labels map[string]string) string {
	all := make([]string, 0, len(labels))
	for k, v := range labels {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
