package publish

import (
	"encoding/json"
	"errors"
	"fmt"
)

// avroType is one branch of an Avro type, as far as a plan needs to know it.
type avroType struct {
	kind   string // "long", "array", …; of a logical type or a name: something that nothing can fill
	items  avroField
	fields []avroField // of a record
}

// avroField is a field of a record, or the items of an array.
type avroField struct {
	name       string
	json       []byte     // as it stands in the schema; nil: it is the items of an array
	branches   []avroType // of a union; else one
	union      bool
	hasDefault bool
}

func fieldNames(fields []avroField) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// parseType reads a type that is not a union.
func parseType(raw json.RawMessage) (avroType, error) {
	var kind string
	if json.Unmarshal(raw, &kind) == nil {
		return avroType{kind: kind}, nil
	}
	var t struct {
		Type        json.RawMessage   `json:"type"`
		LogicalType string            `json:"logicalType"`
		Items       json.RawMessage   `json:"items"`
		Fields      []json.RawMessage `json:"fields"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return avroType{}, errors.New("not a type of Avro")
	}
	if t.LogicalType != "" { // the codec wants other Go types for these
		return avroType{kind: "logical type " + t.LogicalType}, nil
	}
	if json.Unmarshal(t.Type, &kind) != nil {
		return parseType(t.Type)
	}
	parsed := avroType{kind: kind}
	switch kind {
	case "array":
		items, err := parseField("items", t.Items)
		if err != nil {
			return avroType{}, err
		}
		parsed.items = items
	case "record":
		for _, raw := range t.Fields {
			var f struct {
				Name    string          `json:"name"`
				Type    json.RawMessage `json:"type"`
				Default json.RawMessage `json:"default"`
			}
			if err := json.Unmarshal(raw, &f); err != nil {
				return avroType{}, errors.New("not a type of Avro")
			}
			field, err := parseField(f.Name, f.Type)
			if err != nil {
				return avroType{}, err
			}
			field.json, field.hasDefault = raw, f.Default != nil
			parsed.fields = append(parsed.fields, field)
		}
	}
	return parsed, nil
}

func parseField(name string, raw json.RawMessage) (avroField, error) {
	f := avroField{name: name}
	var branches []json.RawMessage
	if json.Unmarshal(raw, &branches) == nil && branches != nil {
		f.union = true
	} else {
		branches = []json.RawMessage{raw}
	}
	for _, b := range branches {
		t, err := parseType(b)
		if err != nil {
			return avroField{}, fmt.Errorf("field %s: %w", name, err)
		}
		f.branches = append(f.branches, t)
	}
	return f, nil
}
