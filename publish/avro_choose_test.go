package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

const (
	keyLong   = `{"type": "record", "name": "Key", "namespace": "old.ns", "fields": [{"name": "id", "type": "long"}]}`
	keyInt    = `{"type": "record", "name": "Key", "namespace": "old.ns", "fields": [{"name": "id", "type": "int"}]}`
	keyString = `{"type": "record", "name": "Key", "namespace": "old.ns", "fields": [{"name": "id", "type": "string"}]}`
	keyTwo    = `{"type": "record", "name": "Key", "namespace": "old.ns", "fields": [{"name": "id", "type": "long"}, {"name": "x", "type": "long"}]}`
)

// named is a schema without what only people read: its full name, and of its one field the type.
func named(t *testing.T, fake *srfake.Registry, subject string, version int) (fullName string, fields []string) {
	t.Helper()
	s, ok := fake.GetSchema(subject, version)
	if !ok {
		t.Fatalf("%s has no version %d", subject, version)
	}
	parsed, err := avro.ParseWithCache(s.Schema.Schema, "", &avro.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	record := parsed.(*avro.RecordSchema)
	for _, f := range record.Fields() {
		fields = append(fields, f.Name()+" "+string(f.Type().Type()))
	}
	return record.FullName(), fields
}

// refuse answers what would change the subject with the status.
func refuse(fake *srfake.Registry, subject string, status int, message string) {
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPost || req.URL.Path != "/subjects/"+subject+"/versions" {
			return false
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error_code": status, "message": message})
		return true
	})
}

// checkCompatibility makes the registry do what the fake leaves out: refuse what is not FULL-compatible.
func checkCompatibility(t *testing.T, fake *srfake.Registry) {
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		subject, ok := strings.CutSuffix(strings.TrimPrefix(req.URL.Path, "/subjects/"), "/versions")
		if req.Method != http.MethodPost || !ok {
			return false
		}
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		var asked struct{ Schema string }
		_ = json.Unmarshal(body, &asked)
		for version := 1; ; version++ {
			there, ok := fake.GetSchema(subject, version)
			if !ok {
				return false
			}
			if err := fullCompatible(t, asked.Schema, there.Schema.Schema); err != nil {
				w.WriteHeader(http.StatusConflict)
				_ = json.NewEncoder(w).Encode(map[string]any{"error_code": 409, "message": err.Error()})
				return true
			}
		}
	})
}

func fullCompatible(t *testing.T, a, b string) error {
	t.Helper()
	one, err := avro.ParseWithCache(a, "", &avro.SchemaCache{})
	if err != nil {
		return err
	}
	other, err := avro.ParseWithCache(b, "", &avro.SchemaCache{})
	if err != nil {
		return err
	}
	check := avro.NewSchemaCompatibility()
	return errors.Join(check.Compatible(one, other), check.Compatible(other, one))
}

func TestSchemasAreFullCompatible(t *testing.T) {
	if err := fullCompatible(t, schemas.Value("slots"), schemas.Value2018("slots")); err != nil {
		t.Error(err)
	}
	broken := strings.Replace(schemas.Value("slots"), `"default":null,`, "", 1)
	if fullCompatible(t, broken, schemas.Value2018("slots")) == nil {
		t.Error("the check finds nothing wrong with a new field without default")
	}
}

func TestRecordRules(t *testing.T) {
	on := publish.AvroOptions{Register: true}
	const full, only2018 = 34, 26
	valueIn := schemas.Value
	for _, tt := range []struct {
		name       string
		topic      string // default: slots
		options    publish.AvroOptions
		keys       []string // versions that are there; ids 11, 12, …
		values     []string // ids 21, 22, …
		setup      func(*testing.T, *srfake.Registry)
		key, value shiftsync.SchemaID // 0: a new one
		keyName    string             // of the newest key version afterwards; empty: not looked at
		valueName  string             // of the schema that is written with
		fields     int                // of it
		notice     string
		err        []string
	}{
		{name: "a new topic gets its own name as namespace", options: on, keyName: "slots.Key", valueName: "slots.slot", fields: full},
		{name: "a topic that is no namespace gets slotsync", topic: "wiw-slots", options: on, keyName: "slotsync.Key", valueName: "slotsync.slot", fields: full},
		{name: "a topic with dots is a namespace", topic: "wiw.slots", options: on, keyName: "wiw.slots.Key", valueName: "wiw.slots.slot", fields: full},
		{name: "a topic with an empty part is not one", topic: "wiw..slots", options: on, keyName: "slotsync.Key", valueName: "slotsync.slot", fields: full},
		{name: "a topic that starts with a digit is not one", topic: "2slots", options: on, keyName: "slotsync.Key", valueName: "slotsync.slot", fields: full},
		{name: "the setting is the namespace of a first version", options: publish.AvroOptions{Register: true, Namespace: "uk.slots"}, keyName: "uk.slots.Key", valueName: "uk.slots.slot", fields: full},
		{name: "the namespace that is there stays, whatever is set", options: publish.AvroOptions{Register: true, Namespace: "uk.slots"}, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, keyName: "old.ns.Key", valueName: "old.ns.slot", fields: full},
		{name: "a namespace within the name", options: on, keys: []string{keyLong}, values: []string{strings.Replace(schemas.Value2018(""), `"name":"slot"`, `"name":"in.name.slot"`, 1)}, key: 11, valueName: "in.name.slot", fields: full},
		{name: "no namespace that is there stays none", options: publish.AvroOptions{Register: true, Namespace: "uk.slots"}, keys: []string{keyLong}, values: []string{schemas.Value2018("")}, key: 11, valueName: "slot", fields: full},
		{name: "our schema is found and not registered again", keys: []string{keyLong}, values: []string{valueIn("old.ns")}, key: 11, value: 21, valueName: "old.ns.slot", fields: full},
		{name: "our schema is found behind a newer one", options: on, keys: []string{keyLong}, values: []string{valueIn("old.ns"), schemas.Value2018("old.ns")}, key: 11, value: 21, valueName: "old.ns.slot", fields: full},
		{name: "a compatible registry takes our schema", options: on, setup: checkCompatibility, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, valueName: "old.ns.slot", fields: full},

		{name: "an int key is evolved under its name", options: on, keys: []string{strings.Replace(keyInt, `"Key"`, `"SlotKey"`, 1)}, values: []string{valueIn("old.ns")}, keyName: "old.ns.SlotKey", value: 21},
		{name: "an int key that may not be evolved", options: on, setup: checkCompatibility, keys: []string{keyInt}, err: []string{"slots-key", "int", "409", "BACKWARD", "by hand"}},
		{name: "an int key with registering off", keys: []string{keyInt}, err: []string{"slots-key", "int", "REGISTER_SCHEMAS is off"}},
		{name: "a key of text", options: on, keys: []string{keyString}, err: []string{"slots-key", "version 1", "string", "by hand"}},
		{name: "a key of two fields", options: on, keys: []string{keyTwo}, err: []string{"slots-key", "id, x"}},
		{name: "a key of another name", options: on, keys: []string{strings.Replace(keyLong, `"id"`, `"shift"`, 1)}, err: []string{"slots-key", "its fields are shift"}},
		{name: "a key that is no record", options: on, keys: []string{`"long"`}, err: []string{"slots-key", "not a record"}},
		{name: "no key and no right to register", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-key", 403, "no right") }, err: []string{"slots-key", "403", "no right", "by hand"}},

		{name: "nothing there and registering off", keys: []string{keyLong}, err: []string{"slots-value", "REGISTER_SCHEMAS=true"}},
		{name: "no key and registering off", err: []string{"slots-key", "REGISTER_SCHEMAS=true"}},
		{name: "registering off writes with what is there", keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, value: 21, valueName: "old.ns.slot", fields: only2018, notice: "REGISTER_SCHEMAS is off"},
		{name: "no right", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 403, "no right") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, value: 21, fields: only2018, notice: "403 Forbidden: no right"},
		{name: "not logged in for writing", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 401, "") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, value: 21, fields: only2018, notice: "401"},
		{name: "read-only by method", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 405, "") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, value: 21, fields: only2018, notice: "405"},
		{name: "read-only by mode", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 422, "READONLY") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, key: 11, value: 21, fields: only2018, notice: "READONLY"},
		{name: "incompatible with an earlier version", options: on, setup: checkCompatibility, keys: []string{keyLong}, values: []string{strings.Replace(schemas.Value2018("old.ns"), `"name":"break_time","type":"long"`, `"name":"break_time","type":"double"`, 1)}, key: 11, value: 21, fields: only2018, notice: "409"},
		{name: "the newest that can be filled", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 409, "") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns"), strings.Replace(schemas.Value2018("old.ns"), `"color"`, `"colour"`, 1)}, key: 11, value: 21, fields: only2018, notice: "version 1"},
		{name: "the newest of two that can be filled", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 409, "") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns"), schemas.Value2018("newer.ns")}, key: 11, value: 22, fields: only2018, notice: "version 2 (schema id 22)"},
		{name: "none can be filled", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 409, "") }, keys: []string{keyLong}, values: []string{strings.Replace(schemas.Value2018("old.ns"), `"color"`, `"colour"`, 1)}, err: []string{"slots-value", "409", "version 1", "colour"}},
		{name: "a fault that may pass is not a refusal", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 500, "") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, err: []string{"slots-value", "500"}},
		{name: "too many requests is not a refusal", options: on, setup: func(_ *testing.T, f *srfake.Registry) { refuse(f, "slots-value", 429, "") }, keys: []string{keyLong}, values: []string{schemas.Value2018("old.ns")}, err: []string{"slots-value", "429"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			topic := tt.topic
			if topic == "" {
				topic = "slots"
			}
			fake := srfake.NewRegistry()
			for i, s := range tt.keys {
				fake.SeedSchema(topic+"-key", i+1, 11+i, sr.Schema{Schema: s})
			}
			for i, s := range tt.values {
				fake.SeedSchema(topic+"-value", i+1, 21+i, sr.Schema{Schema: s})
			}
			if tt.setup != nil {
				tt.setup(t, fake)
			}
			a := newAvro(t, fake.Handler(), topic, tt.options)
			found, err := a.Prepare(t.Context(), false)
			if tt.err != nil {
				if err == nil {
					t.Fatalf("no error, found %+v", found)
				}
				for _, part := range tt.err {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q, want %q in it", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.key != 0 && found.Key != tt.key || tt.value != 0 && found.Value != tt.value || found.Key <= 0 || found.Value <= 0 {
				t.Errorf("key %d and value %d, want %d and %d", found.Key, found.Value, tt.key, tt.value)
			}
			if got := strings.Join(found.Notices, "\n"); tt.notice == "" && got != "" || !strings.Contains(got, tt.notice) {
				t.Errorf("notices %q, want %q", got, tt.notice)
			}
			if tt.fields == only2018 && !strings.Contains(found.Notices[0], "lacks break_time_hours, linked_user_ids, breaks,") {
				t.Errorf("notice %q does not say what is lost", found.Notices[0])
			}
			if tt.keyName != "" {
				version := len(tt.keys)
				if tt.key == 0 {
					version++
				}
				name, fields := named(t, fake, topic+"-key", version)
				if name != tt.keyName || strings.Join(fields, ", ") != "id long" {
					t.Errorf("key is %s with %v, want %s with id long", name, fields, tt.keyName)
				}
			}
			if tt.valueName != "" {
				for version := 1; ; version++ {
					s, ok := fake.GetSchema(topic+"-value", version)
					if !ok {
						t.Fatal("what is written with is no version of the subject")
					}
					if shiftsync.SchemaID(s.ID) != found.Value {
						continue
					}
					if name, fields := named(t, fake, topic+"-value", version); name != tt.valueName || len(fields) != tt.fields {
						t.Errorf("value is %s with %d fields, want %s with %d", name, len(fields), tt.valueName, tt.fields)
					}
					break
				}
			}
			s := sample2018(t)
			r := encode(t, a, s)
			if r.Schema != found.Value || r.Value[4] != byte(found.Value) || r.Key[4] != byte(found.Key) {
				t.Errorf("written with %d, value %x and key %x, want %d and %d", r.Schema, r.Value[:5], r.Key[:5], found.Value, found.Key)
			}

			// Another start finds what this one left, and adds nothing.
			again, err := newAvro(t, fake.Handler(), topic, tt.options).Prepare(t.Context(), false)
			if err != nil || again.Key != found.Key || again.Value != found.Value {
				t.Errorf("another start: %+v, %v; want %+v", again, err, found)
			}
		})
	}
}

func TestNamespaceSettingIsChecked(t *testing.T) {
	for _, bad := range []string{"a b", "a..b", ".a", "a.", "1a", "a-b", `a"`} {
		if _, err := publish.NewAvro(nil, "slots", publish.AvroOptions{Namespace: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestForeignSubjects(t *testing.T) {
	fake := srfake.NewRegistry()
	fake.SeedSchema("slots-key", 1, 1, sr.Schema{Schema: keyLong})
	fake.SeedSchema("slots-value", 1, 2, sr.Schema{Schema: `{"type": "object"}`, Type: sr.TypeJSON})
	refuse(fake, "slots-value", 409, "")
	_, err := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{Register: true}).Prepare(t.Context(), false)
	if err == nil || !strings.Contains(err.Error(), "version 1: it is JSON, not Avro") {
		t.Errorf("error %v", err)
	}
}

func TestPrepareStaysWithWhatItFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := srfake.NewRegistry()
		a := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{Register: true, Refresh: 10 * time.Minute})
		first := prepare(t, a)
		asked := countRequests(fake)
		away := false
		fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			if away {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return away
		})
		same := func(when string, requests, notices int) {
			t.Helper()
			before := asked()
			got := prepare(t, a)
			if got.Key != first.Key || got.Value != first.Value {
				t.Errorf("%s: %+v, want the schemas of %+v", when, got, first)
			}
			if len(got.Notices) != notices || asked()-before != int64(requests) {
				t.Errorf("%s: %d requests, notices %q; want %d and %d", when, asked()-before, got.Notices, requests, notices)
			}
			encode(t, a, sample2018(t))
		}
		same("at once", 0, 0)
		<-time.After(10*time.Minute - 1)
		same("within the interval", 0, 0)
		<-time.After(1)
		same("after it", 3, 0) // the latest of both, and ours
		away = true
		<-time.After(10 * time.Minute)
		same("registry away", 1, 1)
		same("registry away, at once", 0, 1)
		<-time.After(time.Minute)
		same("registry away, later", 1, 1)
		away = false
		<-time.After(time.Minute)
		same("registry back", 3, 0)

		<-time.After(10 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Prepare(ctx, false); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of its context: %v", err)
		}
	})
}

func TestARefusalIsTriedAgainAfterTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := srfake.NewRegistry()
		fake.SeedSchema("slots-key", 1, 1, sr.Schema{Schema: keyLong})
		fake.SeedSchema("slots-value", 1, 2, sr.Schema{Schema: schemas.Value2018("slots")})
		refuse(fake, "slots-value", 409, "")
		a := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{Register: true})
		if got := prepare(t, a); got.Value != 2 || len(got.Notices) != 1 {
			t.Fatalf("%+v, want value 2 and a notice", got)
		}
		fake.ClearInterceptors()
		<-time.After(10 * time.Minute)
		if got := prepare(t, a); got.Value == 2 || len(got.Notices) != 0 {
			t.Errorf("%+v, want the full schema and no notice", got)
		}
	})
}

func TestRegistryAwayAtTheFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
		r, err := publish.NewRegistry("http://registry.test", publish.RegistryOptions{Transport: hanging{hangs}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := publish.NewAvro(r, "slots", publish.AvroOptions{Register: true})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err = a.Prepare(t.Context(), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want one of time", err)
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("took %s, want 10 s", got)
		}
	})
}

// hanging gives no answer before the request's context ends.
type hanging struct{ http.Handler }

func (h hanging) RoundTrip(req *http.Request) (*http.Response, error) {
	h.ServeHTTP(nil, req)
	return nil, req.Context().Err()
}
