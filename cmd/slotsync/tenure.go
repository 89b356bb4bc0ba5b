package main

import (
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// States of a worker.
const (
	stateStarting = "starting" // it does not have the lease, nor has it seen another one with it
	stateActive   = "active"   // it holds the lease
	stateStandby  = "standby"  // another worker holds it
)

// tenure is how this worker stands to the lease. The observer tells metrics and health of each change, and the
// page takes it from there, so that they cannot differ.
type tenure struct {
	state string
	// As it was when the lease was last asked for. In state starting nothing of it is known.
	shiftsync.Standing
}

// knows tells whether it is known when the topic was last in step, or when somebody first was to bring it there.
func (t tenure) knows() bool { return !t.InStep.IsZero() }

// lastInStep is when a pass, of whichever worker, last left nothing undone; zero: none did, or it is not known.
func (t tenure) lastInStep() time.Time {
	if t.Never {
		return time.Time{}
	}
	return t.InStep
}
