// Package model is a test by a model: several clients do random things to several VMs, while
// banger's processes are killed at any moment, and a model says which answers and states
// are allowed. The model knows a VM as existing or not, stopped, running or failed, and what
// its guest has written down; a client that was told that something is done finds it done; what was
// interrupted has one outcome or the other, and nothing is left of it.
//
// Operations of one track (see state) may overlap. They are explained together: there has
// to be an order of them, that agrees with the times at which each began and ended, in which
// every answer is right. So no answer is excused because something else went on.
//
// Commands are killed and interrupted as well. Some have a VM for themselves, which goes with
// them (run --rm); those are on no track. A failure shows all that happened to its track, with
// the daemon's log, since there was last no VM on it.
//
// All steps follow from a seed, which is printed:
//
//	BANGER_MODEL_SEED=N     the seed
//	BANGER_MODEL_TIME=10m   how long; 1m if not set
//	BANGER_MODEL_STEPS=N    how many steps at most
//	BANGER_MODEL_CLIENTS=5  how many clients; with one, if not set, steps come one after the other
//
// Which steps meet depends on the machine: a seed plays the same steps again, not the same
// moments. User mode has no root helper, so none is killed.
package model
