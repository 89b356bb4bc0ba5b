package stacktest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/slotsync/slotsync/sync/stacktest"
)

const variable = "SLOTSYNC_TEST_STACKTEST"

// TestAsked is what the test below runs, in a process of its own.
func TestAsked(t *testing.T) {
	if os.Getenv("SLOTSYNC_TEST_ASKED") == "" {
		return
	}
	t.Logf("told: %s", stacktest.Told(t, variable))
}

func TestWhatIsPromisedIsNotSkipped(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		claim string
		env   []string
		fails bool
		want  string
	}{
		{"no stack", []string{stacktest.Promised + "="}, false, "--- SKIP: TestAsked"},
		{"a stack", []string{stacktest.Promised + "=1", variable + "=there"}, false, "told: there"},
		{"a stack that lacks something", []string{stacktest.Promised + "=1"}, true, variable + " is not set"},
	} {
		asked := exec.CommandContext(t.Context(), self, "-test.run=^TestAsked$", "-test.v")
		asked.Env = append(append(os.Environ(), "SLOTSYNC_TEST_ASKED=1"), c.env...)
		out, err := asked.CombinedOutput()
		if (err != nil) != c.fails || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: got %v, want a failure: %v, and %q in\n%s", c.claim, err, c.fails, c.want, out)
		}
	}
}
