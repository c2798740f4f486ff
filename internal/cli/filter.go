package cli

import (
	"regexp"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/label"

	"github.com/spf13/cobra"
)

// filterStates are the states that a VM in a list can have.
var filterStates = []string{string(api.StateCreating), string(api.StateRunning), string(api.StatePaused), string(api.StateSuspended), string(api.StateStopped), string(api.StateFailed)}

// filterFields are the keys of filters that compare a text.
var filterFields = map[string]func(vm api.VM) string{
	"name":   func(vm api.VM) string { return vm.Name },
	"state":  func(vm api.VM) string { return string(vm.State) },
	"image":  func(vm api.VM) string { return vm.Image },
	"driver": func(vm api.VM) string { return vm.Driver },
}

const filterHint = "the keys are name, state, image, driver and label: --filter state=running, --filter label=team=web"

// vmFilter says which VMs to list.
type vmFilter struct {
	texts  map[string][]*regexp.Regexp // by key: one of them has to match
	labels []func(labels map[string]string) bool
}

// parseFilters reads the values of --filter.
func parseFilters(texts []string) (vmFilter, error) {
	f := vmFilter{texts: map[string][]*regexp.Regexp{}}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return f, api.Errorf(api.KindInvalid, "%.80q is not a valid filter: write KEY=VALUE", text).WithHint(filterHint)
		}
		switch {
		case key == "label":
			if err := f.addLabel(value); err != nil {
				return f, err
			}
			continue
		case filterFields[key] == nil:
			return f, api.Errorf(api.KindInvalid, "%.40q is not a valid key of a filter", key).WithHint(filterHint)
		}
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(value), `\*`, ".*") + "$")
		if key == "state" && !slices.ContainsFunc(filterStates, pattern.MatchString) {
			return f, api.Errorf(api.KindInvalid, "%.40q is not a valid state", value).WithHint("the states are %s", strings.Join(filterStates, ", "))
		}
		f.texts[key] = append(f.texts[key], pattern)
	}
	return f, nil
}

// addLabel adds a filter KEY, or KEY=VALUE.
func (f *vmFilter) addLabel(text string) error {
	key, want, hasValue := strings.Cut(text, "=")
	f.labels = append(f.labels, func(labels map[string]string) bool {
		value, has := labels[key]
		return has && (!hasValue || value == want)
	})
	return label.CheckKey(key)
}

// has reports whether there is a filter of a key other than label.
func (f vmFilter) has(key string) bool { return len(f.texts[key]) > 0 }

// matches reports whether a VM is to be listed.
func (f vmFilter) matches(vm api.VM) bool {
	for key, patterns := range f.texts {
		text := filterFields[key](vm)
		if !slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(text) }) {
			return false
		}
	}
	return !slices.ContainsFunc(f.labels, func(has func(map[string]string) bool) bool { return !has(vm.Labels) })
}

// completeFilter completes keys of filters, and states.
func completeFilter(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all := []string{"driver=", "image=", "label=", "name="}
	for _, state := range filterStates {
		all = append(all, "state="+state)
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
