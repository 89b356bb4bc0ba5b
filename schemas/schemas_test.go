package schemas_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/slotsync/slotsync/schemas"
)

type record struct {
	Type, Name, Namespace, Doc string
	Fields                     []struct {
		Name, Doc string
		Type      json.RawMessage
		Default   json.RawMessage
	}
}

func parse(t *testing.T, schema string) record {
	t.Helper()
	var r record
	if err := json.Unmarshal([]byte(schema), &r); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(schema, "\n\r") {
		t.Error("the schema is not one line")
	}
	return r
}

// old is what slot_sync registered; new is what came after it.
const (
	old = `account_id long, acknowledged long, acknowledged_at null|string, actionable boolean, alerted boolean,
block_id long, break_time long, color string, created_at string, creator_id long, end_time string, id long,
instances long, is_open boolean, linked_users null|string, location_id long, notes string, notified_at null|string,
position_id long, published boolean, published_date string, shiftchain_key string, site_id long, start_time string,
updated_at string, user_id long`
	new2025 = `break_time_hours null|double, linked_user_ids null|array of long, breaks null|array of break,
is_shared null|boolean, is_trimmed null|boolean, requires_openshift_approval null|boolean,
openshift_approval_request_id null|long, is_approved_without_time null|boolean`
)

func fields(r record) string {
	var all []string
	for _, f := range r.Fields {
		all = append(all, f.Name+" "+typeName(f.Type))
	}
	return strings.Join(all, ", ")
}

func typeName(raw json.RawMessage) string {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return name
	}
	var union []json.RawMessage
	if json.Unmarshal(raw, &union) == nil {
		var names []string
		for _, b := range union {
			names = append(names, typeName(b))
		}
		return strings.Join(names, "|")
	}
	var t struct {
		Type, Name string
		Items      json.RawMessage
	}
	_ = json.Unmarshal(raw, &t)
	if t.Type == "array" {
		return "array of " + typeName(t.Items)
	}
	return t.Name
}

func TestFields(t *testing.T) {
	oneLine := func(s string) string { return strings.ReplaceAll(s, "\n", " ") }
	for name, tt := range map[string]struct{ schema, record, fields string }{
		"key":        {schemas.Key("a.b"), "Key", "id long"},
		"value 2018": {schemas.Value2018("a.b"), "slot", oneLine(old)},
		"value":      {schemas.Value("a.b"), "slot", oneLine(old + ", " + new2025)},
	} {
		r := parse(t, tt.schema)
		if r.Type != "record" || r.Name != tt.record || r.Namespace != "a.b" {
			t.Errorf("%s: %s %s in %s, want record %s in a.b", name, r.Type, r.Name, r.Namespace, tt.record)
		}
		if got := fields(r); got != tt.fields {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.fields)
		}
	}
}

func TestOnlyNewFieldsHaveADefault(t *testing.T) {
	for i, f := range parse(t, schemas.Value("a")).Fields {
		if got, want := string(f.Default), map[bool]string{true: "null"}[i >= 26]; got != want {
			t.Errorf("default of %s is %q, want %q", f.Name, got, want)
		}
		if f.Doc == "" {
			t.Errorf("%s has no doc", f.Name)
		}
	}
}

func TestBreak(t *testing.T) {
	var union []json.RawMessage
	for _, f := range parse(t, schemas.Value("a")).Fields {
		if f.Name == "breaks" {
			_ = json.Unmarshal(f.Type, &union)
		}
	}
	if len(union) != 2 {
		t.Fatal("no field breaks")
	}
	var array struct{ Items record }
	if err := json.Unmarshal(union[1], &array); err != nil {
		t.Fatal(err)
	}
	const want = "id long, length_seconds long, paid boolean, start_time null|string, end_time null|string, sort long"
	if got := fields(array.Items); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestNoNamespace(t *testing.T) {
	for name, schema := range map[string]string{"key": schemas.Key(""), "value": schemas.Value(""), "2018": schemas.Value2018("")} {
		if strings.Contains(schema, "namespace") {
			t.Errorf("%s has a namespace", name)
		}
		parse(t, schema)
	}
}
