// Package stacktest tells tests where the real servers of make test-stack are.
package stacktest

import (
	"os"
	"testing"
)

// Promised is set where all tests against real servers have to run.
const Promised = "SLOTSYNC_TEST_STACK"

// Told returns the value of a variable by which the stack says of itself where something is. Without a stack, the test that
// asks is not run; under make test-stack, which promises one, it fails.
func Told(t *testing.T, variable string) string {
	t.Helper()
	at := os.Getenv(variable)
	switch {
	case at != "":
	case os.Getenv(Promised) != "":
		t.Fatalf("%s is not set: nothing may be missing under %s", variable, Promised)
	default:
		t.Skip("there are no real servers: make test-stack starts them")
	}
	return at
}
