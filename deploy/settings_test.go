// Package deploy_test holds what the program is deployed with against the program: its settings, commands and image.
package deploy_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// helpPage is the program's own list of its settings.
func helpPage(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/slotsync", "--help")
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("slotsync --help: %v\n%s", err, out)
	}
	return strings.Join(strings.Fields(string(out)), " ") // it is wrapped
}

// settings returns the variables that the program reads.
func settings(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, list := range regexp.MustCompile(`\[([A-Z][^\]]*)\]`).FindAllStringSubmatch(helpPage(t), -1) {
		names = append(names, regexp.MustCompile(`[A-Z][A-Z0-9_]+`).FindAllString(list[1], -1)...)
	}
	if len(names) < 30 || !slices.Contains(names, "WIW_KEY_FILE") {
		t.Fatalf("the help page is not understood: got %v", names)
	}
	return names
}

// runtimes are variables that Go itself reads in the program.
func runtimes() []string { return []string{"GOMEMLIMIT"} }

// known fails for each variable that would have no effect.
func known(t *testing.T, where string, names ...string) {
	t.Helper()
	all := append(settings(t), runtimes()...)
	for _, name := range names {
		if !slices.Contains(all, name) {
			t.Errorf("%s: %s is no setting", where, name)
		}
	}
}

// stopTimeout is the time that a worker may take for its end, if nobody says otherwise.
func stopTimeout(t *testing.T) time.Duration {
	t.Helper()
	found := regexp.MustCompile(`--stop-timeout=(\S+)`).FindStringSubmatch(helpPage(t))
	if found == nil {
		t.Fatal("the help page has no --stop-timeout")
	}
	d, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// dockerfile returns what the last line with an instruction says.
func dockerfile(t *testing.T, instruction string) string {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^`+instruction+` (.*)$`).FindAllStringSubmatch(string(text), -1)
	if found == nil {
		t.Fatalf("the Dockerfile has no %s", instruction)
	}
	return found[len(found)-1][1]
}
