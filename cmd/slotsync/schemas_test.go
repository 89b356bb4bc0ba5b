package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/schemas"
)

func TestSchemas(t *testing.T) {
	w := start(t, world.Options{Partitions: 1})
	noBrokers := map[string]string{"KAFKA_BROKERS": ""}
	for _, c := range []struct {
		claim    string
		before   func()
		settings map[string]string
		args     string
		code     int
		out, log string // parts
	}{
		{"show, before there is any", nil, nil, "show", 0, "shifts-value: no version yet\nours would be registered\n{\n", ""},
		{"show, with a namespace", nil, map[string]string{"KAFKA_SCHEMA_NAME": "uk.london"}, "show", 0, `"namespace": "uk.london"`, ""},
		{"check registers nothing", nil, nil, "check", 0, "shifts-key: no version yet; ours would be registered\nshifts-value: no version yet; ours would be registered\n", ""},
		{"check, where nothing may be registered", nil, map[string]string{"REGISTER_SCHEMAS": "false"}, "check", 1, "there is nothing to write with", "set REGISTER_SCHEMAS=true"},
		{"register", nil, map[string]string{"REGISTER_SCHEMAS": "false"}, "register", 0, "shifts-key: schema id 1\nshifts-value: schema id 2\n", ""},
		{"register again", nil, nil, "register", 0, "shifts-key: schema id 1\nshifts-value: schema id 2\n", ""},
		{"check", nil, map[string]string{"REGISTER_SCHEMAS": "false"}, "check", 0,
			"shifts-key: the newest is version 1, schema id 1; schema id 1 is used\nshifts-value: the newest is version 1, schema id 2; schema id 2 is used\n", ""},
		{"the old schema, refused", func() {
			w.Registry.SeedSchema("old-value", 1, 9, sr.Schema{Schema: schemas.Value2018("old")})
			w.Registry.Intercept(incompatible)
		}, map[string]string{"KAFKA_TOPIC_NAME": "old"}, "check", 1, "old-value: the newest is version 1, schema id 9; schema id 9 would be used, which is not ours\n", "let the subject's compatibility be FULL"},
		{"register, refused", nil, map[string]string{"KAFKA_TOPIC_NAME": "old"}, "register", 1, "", "nothing was registered: "},
		{"still nothing is registered", nil, map[string]string{"KAFKA_TOPIC_NAME": "old"}, "show", 0, "old-key: no version yet", ""},
		{"refused only when it comes to it", func() { w.Registry.Intercept(readOnly) }, map[string]string{"KAFKA_TOPIC_NAME": "third"}, "register", 1, "", "no schema is registered: register: "},
		{"no registry", nil, map[string]string{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://127.0.0.1:1"}, "check", 1, "", "connection refused"},
		{"no such command", nil, nil, "drop", 2, "", "unexpected argument"},
		{"no command", nil, nil, "", 2, "", "show"},
	} {
		if c.before != nil {
			c.before()
		}
		for k, v := range noBrokers {
			if c.settings == nil {
				c.settings = map[string]string{}
			}
			c.settings[k] = v
		}
		out, log, code := call(t, w, c.settings, strings.Fields("schemas "+c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(log, c.log) || c.out == "" && out != "" {
			t.Errorf("%s: got exit %d, want %d and %q, %q in\n%s%s", c.claim, code, c.code, c.out, c.log, out, log)
		}
	}
}

// incompatible calls whatever is there incompatible.
func incompatible(w http.ResponseWriter, req *http.Request) bool {
	if !strings.HasPrefix(req.URL.Path, "/compatibility/") {
		return false
	}
	_, _ = io.WriteString(w, `{"is_compatible":false}`)
	return true
}

// readOnly registers nothing.
func readOnly(w http.ResponseWriter, req *http.Request) bool {
	if req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/versions") || !strings.HasPrefix(req.URL.Path, "/subjects/") {
		return false
	}
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]any{"error_code": 40301, "message": "read only"})
	return true
}
