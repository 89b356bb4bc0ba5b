package publish_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// incompatible answers that nothing is compatible with the subject, and refuses to register there.
func incompatible(t *testing.T, fake *srfake.Registry, subject string) {
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasPrefix(req.URL.Path, "/compatibility/subjects/"+subject+"/") {
			return false
		}
		if _, err := io.WriteString(w, `{"is_compatible":false}`); err != nil {
			t.Error(err)
		}
		return true
	})
	refuse(fake, subject, http.StatusConflict, "incompatible")
}

// What Inspect foresees is what Prepare then does, from each state that a registry may be in.
func TestInspectForeseesTheChoice(t *testing.T) {
	only2018 := schemas.Value2018("old.ns")
	for _, c := range []struct {
		claim      string
		key, value string // that are there; ids 11 and 21
		register   bool
		setup      func(*testing.T, *srfake.Registry)
		keyType    string
		proposed   [2]bool // key, value
		added      int
		missing    int
		refused    string // of the value
		err        string // of key or value
	}{
		{claim: "nothing is there", register: true, proposed: [2]bool{true, true}},
		{claim: "nothing is there and nothing may be registered", err: "REGISTER_SCHEMAS"},
		{claim: "slot_sync's schemas, key mended", key: keyLong, value: only2018, register: true, keyType: "long", proposed: [2]bool{false, true}, added: 8},
		{claim: "slot_sync's schemas as they were", key: keyInt, value: only2018, register: true, keyType: "int", proposed: [2]bool{true, true}, added: 8},
		{claim: "registration is off", key: keyLong, value: only2018, keyType: "long", missing: 8, refused: "REGISTER_SCHEMAS"},
		{claim: "ours is not compatible", key: keyLong, value: only2018, register: true, keyType: "long", missing: 8, refused: "not compatible with version 1 under BACKWARD",
			setup: func(t *testing.T, f *srfake.Registry) { incompatible(t, f, "slots-value") }},
		{claim: "the key cannot be evolved", key: keyInt, value: only2018, register: true, keyType: "int", proposed: [2]bool{false, true}, added: 8, err: "too small",
			setup: func(t *testing.T, f *srfake.Registry) { incompatible(t, f, "slots-key") }},
		{claim: "a key of text", key: keyString, value: only2018, register: true, keyType: "string", proposed: [2]bool{false, true}, added: 8, err: "type long (string)"},
		{claim: "ours is there", key: keyLong, value: schemas.Value("old.ns"), register: true, keyType: "long"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			fake := srfake.NewRegistry()
			if c.key != "" {
				fake.SeedSchema("slots-key", 1, 11, sr.Schema{Schema: c.key})
			}
			if c.value != "" {
				fake.SeedSchema("slots-value", 1, 21, sr.Schema{Schema: c.value})
			}
			if c.setup != nil {
				c.setup(t, fake)
			}
			inspecting := true
			fake.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
				if inspecting && req.Method != http.MethodGet && strings.HasSuffix(req.URL.Path, "/versions") {
					t.Errorf("inspecting sent %s %s", req.Method, req.URL.Path)
				}
				return false
			})
			a, err := publish.NewAvro(registryAt(t, fake.Handler(), publish.RegistryOptions{}), "slots", publish.AvroOptions{Register: c.register})
			if err != nil {
				t.Fatal(err)
			}
			in, err := a.Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if in.Key.KeyType != c.keyType || in.Key.Proposed != c.proposed[0] || in.Value.Proposed != c.proposed[1] {
				t.Errorf("got key %+v, value %+v", in.Key, in.Value)
			}
			if len(in.Value.Added) != c.added || len(in.Value.Missing) != c.missing || in.Value.Level != "BACKWARD" {
				t.Errorf("got added %v, missing %v, level %q", in.Value.Added, in.Value.Missing, in.Value.Level)
			}
			if got := in.Value.Refused; c.refused != "" && (got == nil || !strings.Contains(got.Error(), c.refused)) {
				t.Errorf("refused: got %v, want %q", got, c.refused)
			}

			inspecting = false
			chosen, err := a.Prepare(t.Context(), false)
			broken := errors.Join(in.Key.Err, in.Value.Err)
			if (err == nil) != (broken == nil) || c.err != "" && (broken == nil || !strings.Contains(broken.Error(), c.err)) || c.err == "" && broken != nil {
				t.Fatalf("foreseen %v, was %v, want %q", broken, err, c.err)
			}
			if err != nil {
				return
			}
			if in.Key.Use != 0 && in.Key.Use != chosen.Key || in.Value.Use != 0 && in.Value.Use != chosen.Value ||
				(in.Key.Use == 0) != in.Key.Proposed || (in.Value.Use == 0) != in.Value.Proposed {
				t.Errorf("foreseen %d and %d, were %d and %d", in.Key.Use, in.Value.Use, chosen.Key, chosen.Value)
			}
			shift := &shiftsync.Shift{ID: 7, Notes: "four"}
			var r shiftsync.Record
			if _, err := a.Encode(shift, nil, &r); err != nil {
				t.Fatal(err)
			}
			if n, err := in.ValueBytes(shift); n != len(r.Value) || err != nil {
				t.Errorf("foreseen %d bytes, %v; were %d", n, err, len(r.Value))
			}
			if key := publish.AppendKey(nil, chosen.Key, 7); !slices.Equal(key, r.Key) {
				t.Errorf("foreseen key %x, was %x", key, r.Key)
			}
		})
	}
}

func TestInspectSaysWhyTheRegistryCannotBeAsked(t *testing.T) {
	fake := srfake.NewRegistry(srfake.WithAuth("Basic right"))
	a, err := publish.NewAvro(registryAt(t, fake.Handler(), publish.RegistryOptions{}), "slots", publish.AvroOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Inspect(t.Context()); !errors.Is(err, publish.ErrRegistryRefused) {
		t.Errorf("no credentials: got %v", err)
	}
	nobody, err := publish.NewRegistry("http://127.0.0.1:1", publish.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a, err = publish.NewAvro(nobody, "slots", publish.AvroOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Inspect(t.Context()); err == nil || errors.Is(err, publish.ErrRegistryRefused) {
		t.Errorf("nobody there: got %v", err)
	}
}

// A registry without settings of a subject's own answers 404 even where it was asked for the general one.
func TestTheLevelIsTheGeneralOneWhereTheSubjectHasNone(t *testing.T) {
	fake := srfake.NewRegistry(srfake.WithGlobalCompat(sr.CompatFullTransitive))
	fake.SeedSchema("slots-key", 1, 11, sr.Schema{Schema: keyLong})
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasPrefix(req.URL.Path, "/config/") {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"error_code": 40408, "message": "not configured"})
		return true
	})
	a, err := publish.NewAvro(registryAt(t, fake.Handler(), publish.RegistryOptions{}), "slots", publish.AvroOptions{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	in, err := a.Inspect(t.Context())
	if err != nil || in.Key.Level != "FULL_TRANSITIVE" {
		t.Errorf("got %+v, %v", in, err)
	}
}
