package publish_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/schemas"
)

// level sets how the registry compares the subject's versions.
func (r *registry) level(t *testing.T, subject string, level sr.CompatibilityLevel) {
	t.Helper()
	if err := r.admin.SetCompatibility(t.Context(), sr.SetCompatibility{Level: level}, subject)[0].Err; err != nil {
		t.Fatal(err)
	}
}

func (r *registry) register(t *testing.T, subject, schema string) publish.SchemaVersion {
	t.Helper()
	made, err := r.Register(t.Context(), subject, schema)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// newAvro returns an encoder for the topic whose subjects are topic-key and topic-value.
func (r *registry) newAvro(t *testing.T, topic string) *publish.Avro {
	t.Helper()
	a, err := publish.NewAvro(r.Registry, topic, publish.AvroOptions{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOldAndNewRecordsAreReadByEither(t *testing.T) {
	old, now := schemas.Value2018("slots"), schemas.Value("slots")
	for _, c := range []struct {
		claim          string
		level          sr.CompatibilityLevel
		there, offered string
		want           bool
	}{
		{"the new schema reads old records", sr.CompatBackward, old, now, true},
		{"the old schema reads new records", sr.CompatForward, old, now, true},
		{"both at once", sr.CompatFull, old, now, true},
		{"the other way round", sr.CompatFull, now, old, true},
		{"a new field without default", sr.CompatFull, old, strings.Replace(now, `"default":null,`, "", 1), false},
		{"a field taken away", sr.CompatFull, old, strings.Replace(old, `{"name":"notes","type":"string"},`, "", 1), false},
		{"a key that grows to long", sr.CompatBackward, keyInt, keyLong, true},
		{"a key that grows, and its old readers", sr.CompatFull, keyInt, keyLong, false},
	} {
		t.Run(c.claim, func(t *testing.T) {
			onEachRegistry(t, func(t *testing.T, r *registry, subject func(string) string) {
				s := subject("s")
				r.register(t, s, c.there)
				r.level(t, s, c.level)
				got, err := r.Compatible(t.Context(), s, c.offered)
				want := c.want || r.fake != nil // srfake compares nothing
				if err != nil || got != want {
					t.Errorf("compatible: %v, %v, want %v", got, err, want)
				}
				_, err = r.Register(t.Context(), s, c.offered)
				if (err == nil) != want || !want && !errors.Is(err, publish.ErrRegistryRefused) {
					t.Errorf("register: %v, want a refusal: %v", err, !want)
				}
			})
		})
	}
}

func TestAKeyThatMayNotGrowIsAnError(t *testing.T) {
	onEachRegistry(t, func(t *testing.T, r *registry, subject func(string) string) {
		topic := subject("slots")
		r.register(t, topic+"-key", keyInt)
		r.level(t, topic+"-key", sr.CompatFull)
		_, err := r.newAvro(t, topic).Prepare(t.Context(), false)
		if r.fake != nil { // which lets everything grow
			if err != nil {
				t.Error(err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), "allow BACKWARD or NONE") {
			t.Errorf("got %v, want what to do", err)
		}
	})
}

func TestWhatIsNotCompatibleIsWrittenWithWhatIsThere(t *testing.T) {
	onEachRegistry(t, func(t *testing.T, r *registry, subject func(string) string) {
		topic := subject("slots")
		// Who reads with this one cannot read ours, which says long.
		other := strings.Replace(schemas.Value2018("slots"), `"name":"instances","type":"long"`, `"name":"instances","type":"int"`, 1)
		there := r.register(t, topic+"-value", other)
		r.level(t, topic+"-value", sr.CompatFull)
		if r.fake != nil {
			refuse(r.fake, topic+"-value", 409, "incompatible")
		}
		chosen, err := r.newAvro(t, topic).Prepare(t.Context(), false)
		if err != nil || chosen.Value != there.ID || len(chosen.Notices) == 0 {
			t.Errorf("got %+v, %v, want schema %d and a notice", chosen, err, there.ID)
		}
	})
}

func TestWhatIsRegisteredIsRegisteredOnce(t *testing.T) {
	onEachRegistry(t, func(t *testing.T, r *registry, subject func(string) string) {
		topic := subject("slots")
		first, err := r.newAvro(t, topic).Prepare(t.Context(), false)
		if err != nil || first.Key == 0 || first.Value == 0 {
			t.Fatalf("got %+v, %v", first, err)
		}
		again, err := r.newAvro(t, topic).Prepare(t.Context(), false)
		if err != nil || again.Key != first.Key || again.Value != first.Value {
			t.Errorf("got %+v, %v, want %+v again", again, err, first)
		}
		for _, s := range []string{topic + "-key", topic + "-value"} {
			if got, err := r.Versions(t.Context(), s); err != nil || fmt.Sprint(got) != "[1]" {
				t.Errorf("%s: versions %v, %v", s, got, err)
			}
		}
		in, err := r.newAvro(t, topic).Inspect(t.Context())
		if err != nil || in.Key.Use != first.Key || in.Value.Use != first.Value || in.Key.Proposed || in.Value.Proposed {
			t.Errorf("inspected: %+v, %v", in, err)
		}
		r.level(t, topic+"-value", sr.CompatFullTransitive)
		if in, err = r.newAvro(t, topic).Inspect(t.Context()); err != nil || in.Value.Level != "FULL_TRANSITIVE" {
			t.Errorf("inspected: level %q, %v", in.Value.Level, err)
		}
	})
}
