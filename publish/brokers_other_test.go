//go:build !linux

package publish_test

import (
	"os"
	"testing"

	"github.com/slotsync/slotsync/sync/stacktest"
)

// The brokers that fail in turn die with their test by a means that only Linux has.
func TestBrokersFailInTurnOnLinuxOnly(t *testing.T) {
	if os.Getenv(stacktest.Promised) != "" {
		t.Error("what is promised of brokers that fail was not tested: run make test-stack on Linux")
	}
}
