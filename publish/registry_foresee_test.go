package publish_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// tellCompatibility makes the registry answer what the fake always affirms: whether a schema is FULL-compatible with
// the newest version. It fails the test if anything is registered.
func tellCompatibility(t *testing.T, fake *srfake.Registry) {
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/versions") && strings.HasPrefix(req.URL.Path, "/subjects/") {
			t.Errorf("registers with %s", req.URL.Path)
		}
		rest, ok := strings.CutPrefix(req.URL.Path, "/compatibility/subjects/")
		subject, _, _ := strings.Cut(rest, "/")
		if !ok {
			return false
		}
		var asked, newest struct{ Schema string }
		_ = json.NewDecoder(req.Body).Decode(&asked)
		for version := 1; ; version++ {
			s, ok := fake.GetSchema(subject, version)
			if !ok {
				break
			}
			newest.Schema = s.Schema.Schema
		}
		_, _ = io.WriteString(w, fmt.Sprintf(`{"is_compatible":%v}`, fullCompatible(t, asked.Schema, newest.Schema) == nil))
		return true
	})
}

func TestInspectTellsWhetherOursFits(t *testing.T) {
	const incompatible = `{"type":"record","name":"slot","namespace":"slots","fields":[{"name":"id","type":"long"},{"name":"notes","type":"boolean"}]}`
	on, off := publish.AvroOptions{Register: true}, publish.AvroOptions{}
	for _, tt := range []struct {
		name                string
		options             publish.AvroOptions
		keys, values        []string // ids 11, 12, … and 21, 22, …
		key, value          shiftsync.SchemaID
		keyFits, valueFits  bool
		keyErr, note, error string
	}{
		{"an empty registry", on, nil, nil, 0, 0, true, true, "", "", ""},
		{"an empty registry, and no registering", off, nil, nil, 0, 0, true, true, "REGISTER_SCHEMAS is off", "", "REGISTER_SCHEMAS is off"},
		{"all is there", off, []string{keyLong}, []string{schemas.Value("slots")}, 11, 21, true, true, "", "", ""},
		{"slot_sync's value", on, []string{keyLong}, []string{schemas.Value2018("slots")}, 11, 0, true, true, "", "", ""},
		{"slot_sync's value, and no registering", off, []string{keyLong}, []string{schemas.Value2018("slots")}, 11, 21, true, true, "", "REGISTER_SCHEMAS is off", ""},
		{"ours is an older version", on, []string{keyLong}, []string{schemas.Value("slots"), schemas.Value2018("slots")}, 11, 21, true, true, "", "", ""},
		{"a value that cannot be evolved nor filled", on, []string{keyLong}, []string{incompatible}, 11, 0, true, false, "", "", "no version can be filled"},
		{"a value that cannot be evolved, and an older one", on, []string{keyLong}, []string{schemas.Value2018("slots"), incompatible}, 11, 21, true, false, "", "not compatible with version 2", ""},
		{"a key that is none of ours", on, []string{keyString}, nil, 0, 0, false, true, "not a record with the one field id", "", ""},
		{"a key with an int that may not be evolved", on, []string{keyInt}, nil, 0, 0, false, true, "could not be evolved to long", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := srfake.NewRegistry()
			for i, s := range tt.keys {
				fake.SeedSchema("slots-key", i+1, 11+i, sr.Schema{Schema: s})
			}
			for i, s := range tt.values {
				fake.SeedSchema("slots-value", i+1, 21+i, sr.Schema{Schema: s})
			}
			tellCompatibility(t, fake)
			in, err := newAvro(t, fake.Handler(), "slots", tt.options).Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			key, value, note := in.Key, in.Value, strings.Join(in.Notices, "; ")
			if key.Use != tt.key || key.Fits != tt.keyFits || !says(key.Err, tt.keyErr) {
				t.Errorf("key: got id %d, fits %v, error %v", key.Use, key.Fits, key.Err)
			}
			if value.Use != tt.value || value.Fits != tt.valueFits || !says(value.Err, tt.error) || !strings.Contains(note, tt.note) || (note == "") != (tt.note == "") {
				t.Errorf("value: got id %d, fits %v, note %q, error %v", value.Use, value.Fits, note, value.Err)
			}
			if n := len(tt.values); n > 0 && (value.Latest.Version != n || value.Latest.ID != shiftsync.SchemaID(20+n)) || n == 0 && value.Latest.ID != 0 {
				t.Errorf("value: got the newest version %+v", value.Latest)
			}
			if len(tt.keys) == 0 && key.Ours != schemas.Key("slots") || value.Ours != schemas.Value("slots") {
				t.Errorf("got our schemas %s\n%s", key.Ours, value.Ours)
			}
		})
	}
}

func says(err error, part string) bool {
	if part == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), part)
}
