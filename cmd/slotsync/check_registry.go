package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/slotsync/slotsync/publish"
)

func registryChecks() []check {
	look := func(judge func(*facts) finding) func(*facts) finding {
		return func(w *facts) finding {
			if w.registry.err != nil {
				return skip("the registry gave no answer")
			}
			return judge(w)
		}
	}
	return []check{
		{"registry_reached", "Registry", "answer", judgeRegistry},
		{"registry_login", "Registry", "login", judgeRegistryLogin},
		{"registry_key", "Registry", "key", look(judgeKey)},
		{"registry_value", "Registry", "value", look(judgeValue)},
		{"registry_compatibility", "Registry", "compatibility", look(judgeCompatibility)},
	}
}

func (r *registryFacts) refused() bool { return errors.Is(r.err, publish.ErrRegistryRefused) }

func judgeRegistry(w *facts) finding {
	if advice := tlsAdvice(w.registry.err, "SCHEMA_REGISTRY", "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"); advice != "" {
		return fail(advice, "%s: %s", w.cfg.Registry.URL, w.registry.err)
	}
	if r := &w.registry; r.err != nil && !r.refused() {
		return fail("see that AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL is right, with its path, and that it can be reached from here",
			"%s: %s", w.cfg.Registry.URL, r.err)
	}
	return ok("%s", w.cfg.Registry.URL)
}

func judgeRegistryLogin(w *facts) finding {
	switch r := &w.registry; {
	case r.refused():
		from := cmp.Or(w.cfg.registryLoginFrom(), "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, or SCHEMA_REGISTRY_TOKEN,")
		return fail("set "+from+" to what lets in somebody who may read the subjects", "%s", r.err)
	case r.err != nil:
		return skip("the registry gave no answer")
	}
	return ok("subjects may be read")
}

func judgeKey(w *facts) finding {
	s := &w.registry.found.Key
	switch {
	case s.Err != nil:
		return unwritable(w, s, "register a key with the one field id of type long by hand, or use another topic")
	case s.Latest.ID == 0:
		return ok("%s is new: registered at start, with an id of type long", s.Subject)
	case s.Proposed:
		return warn("tell the topic's consumers: the schema id is part of a key's bytes, so old and new keys of a shift are different keys",
			"%s %s has an id of type %s, and is evolved to long at start", s.Subject, versionOf(s.Latest), s.KeyType)
	}
	return ok("%s %s, id of type %s", s.Subject, versionOf(s.Latest), s.KeyType)
}

func judgeValue(w *facts) finding {
	s := &w.registry.found.Value
	switch {
	case s.Err != nil:
		return unwritable(w, s, "register a schema that a shift can fill by hand, or use another topic")
	case s.Refused != nil && len(s.Missing) > 0:
		return warn(permit(w.cfg, "if the fields are wanted, let the full schema be registered"),
			"%s: written with schema id %d, which lacks %s; the full schema is not registered: %s",
			s.Subject, s.Use, strings.Join(s.Missing, ", "), s.Refused)
	case s.Latest.ID == 0:
		return ok("%s is new: registered at start", s.Subject)
	case s.Proposed:
		return ok("%s %s now; the full schema is registered at start", s.Subject, versionOf(s.Latest))
	case s.Use != s.Latest.ID:
		return ok("%s %s is the newest; written with id %d", s.Subject, versionOf(s.Latest), s.Use)
	}
	return ok("%s %s", s.Subject, versionOf(s.Latest))
}

func judgeCompatibility(w *facts) finding {
	var levels []string
	for _, s := range []*publish.SubjectState{&w.registry.found.Key, &w.registry.found.Value} {
		level := s.Level
		if level == "" {
			level = "not told"
		}
		levels = append(levels, level)
		if errors.Is(s.Refused, publish.ErrRegistryRefused) {
			advice := "allow our schema with a lower level for this subject, or leave it: slotsync then writes what is registered"
			if !strict(s) {
				advice = "compare the two (slotsync schemas show), or leave it: slotsync then writes what is registered"
			}
			return relaxed(w.cfg, s, warn(advice, "%s: %s", s.Subject, s.Refused))
		}
	}
	seen := fmt.Sprintf("key %s, value %s; our schemas pass", levels[0], levels[1])
	if w.registry.found.Key.Proposed || w.registry.found.Value.Proposed {
		seen += ", whether they may be registered is not told"
	}
	return ok("%s", seen)
}

// unwritable is what is said of a subject that no record can be written with.
func unwritable(w *facts, s *publish.SubjectState, otherwise string) finding {
	f := fail(permit(w.cfg, otherwise), "%s: %s", s.Subject, s.Err)
	if errors.Is(s.Refused, publish.ErrRegistryRefused) {
		return relaxed(w.cfg, s, f)
	}
	return f
}

// permit adds to an advice what would spare it, where that is a setting.
func permit(cfg *config, advice string) string {
	if cfg.Registry.Register {
		return advice
	}
	return "set REGISTER_SCHEMAS=true; or " + advice
}

func versionOf(v publish.SchemaVersion) string {
	if v.Version == 0 {
		return fmt.Sprintf("(id %d)", v.ID)
	}
	return fmt.Sprintf("version %d (id %d)", v.Version, v.ID)
}

// lowLevel is the compatibility level that our schemas are made for.
const lowLevel = "BACKWARD"

// strict tells whether a subject's compatibility level is above the one that our schemas are made for, as far as it is told.
func strict(s *publish.SubjectState) bool { return s.Level != lowLevel && s.Level != "NONE" }

// relaxed adds to a finding the command that lowers the compatibility level of a subject, where that would change anything.
func relaxed(cfg *config, s *publish.SubjectState, f finding) finding {
	if !strict(s) {
		return f
	}
	return f.with(`curl -X PUT -H 'Content-Type: application/vnd.schemaregistry.v1+json' -d '{"compatibility":"%s"}' %s/config/%s`,
		lowLevel, strings.TrimRight(cfg.Registry.URL.String(), "/"), s.Subject)
}
