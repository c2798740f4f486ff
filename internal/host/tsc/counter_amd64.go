package tsc

// counter reads the time stamp counter (RDTSC, Intel SDM volume 2B).
func counter() uint64
