package publish_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slotsync/slotsync/publish"
)

func TestTheRegistrySaysWhenItWasHeard(t *testing.T) {
	refusing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	for _, c := range []struct {
		claim     string
		transport http.RoundTripper
		heard     bool
	}{
		{"a refusal is a word", inMemory{refusing}, true},
		{"no answer is none", nobody{}, false},
	} {
		r, err := publish.NewRegistry("http://registry.test", publish.RegistryOptions{Transport: c.transport})
		if err != nil {
			t.Fatal(err)
		}
		if at, silence := r.Answered(); !at.IsZero() || silence != nil {
			t.Errorf("before it was asked: got %s, %v", at, silence)
		}
		if _, err := r.Latest(t.Context(), "subject"); err == nil {
			t.Errorf("%s: got no error", c.claim)
		}
		at, silence := r.Answered()
		if heard := !at.IsZero() && silence == nil; heard != c.heard {
			t.Errorf("%s: got %s, %v", c.claim, at, silence)
		}
		if !c.heard && !strings.Contains(silence.Error(), "SCHEMA_REGISTRY_URL") {
			t.Errorf("%s: got %v, want what to look at", c.claim, silence)
		}
	}
}

// nobody is a way on which nobody answers.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed }
