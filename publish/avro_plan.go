package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/linkedin/goavro/v2"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// plan is a value schema made ready to be filled from shifts: the codec, and the map that it encodes, whose entries
// are written anew for each shift. It serves one goroutine.
type plan struct {
	id      shiftsync.SchemaID
	schema  string
	codec   *goavro.Codec
	shower  *goavro.Codec // for Avro.Fields; nil until it is wanted
	fill    filler[shiftsync.Shift]
	missing []string // fields of a shift that the schema has no place for
}

// newPlan returns an error that says why, if the schema cannot be filled from every shift.
func newPlan(v SchemaVersion) (*plan, error) {
	if v.Foreign != "" {
		return nil, errors.New(v.Foreign)
	}
	t, err := parseType(json.RawMessage(v.Schema))
	if err != nil {
		return nil, err
	}
	if t.kind != "record" {
		return nil, errors.New("it is not a record")
	}
	known := shiftFields()
	p := &plan{id: v.ID, schema: v.Schema}
	if p.fill, err = newFiller(t, known); err != nil {
		return nil, err
	}
	if p.codec, err = goavro.NewCodec(v.Schema); err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	// The codec may be stricter about defaults than the parser was; better to hear of it now than with each shift.
	if _, err := p.append(nil, &shiftsync.Shift{}); err != nil {
		return nil, err
	}
	there := fieldNames(t.fields)
	for _, f := range known {
		if !slices.Contains(there, f.name) {
			p.missing = append(p.missing, f.name)
		}
	}
	return p, nil
}

// append appends the Avro body of the shift. On an error, what it returns is nil.
func (p *plan) append(buf []byte, s *shiftsync.Shift) ([]byte, error) {
	if err := p.fill.from(s); err != nil {
		return nil, err
	}
	grown, err := p.codec.BinaryFromNative(buf, p.fill.values)
	if err != nil {
		// The codec quotes what it was given, and notes are nothing for a log. All that depends on the shift was
		// looked at before, so this is about the schema.
		return nil, fmt.Errorf("schema %d cannot be encoded", p.id)
	}
	return grown, nil
}

// filler writes the fields of a T into the map that stands for its record.
type filler[T any] struct {
	values map[string]any
	set    []func(*T, map[string]any) error
}

func newFiller[T any](record avroType, known []field[T]) (filler[T], error) {
	f := filler[T]{values: make(map[string]any, len(record.fields))}
	for _, target := range record.fields {
		i := slices.IndexFunc(known, func(k field[T]) bool { return k.name == target.name })
		if i < 0 {
			if !target.hasDefault {
				return f, fmt.Errorf("field %s is not known and has no default", target.name)
			}
			continue // the codec puts the default
		}
		set, err := setter(target, known[i].source)
		if err != nil {
			return f, err
		}
		f.set = append(f.set, set)
	}
	return f, nil
}

func (f filler[T]) from(t *T) error {
	for _, set := range f.set {
		if err := set(t, f.values); err != nil {
			return err
		}
	}
	return nil
}

// setter returns what writes one field, in the first branch of its type that the source can be written as. A value
// that is not there becomes null, or where there is no null the zero of the type.
func setter[T any](target avroField, from source[T]) (func(*T, map[string]any) error, error) {
	var get getter[T]
	var kind string
	nullable := false
	for _, branch := range target.branches {
		if branch.kind == "null" {
			nullable = true
		} else if get == nil {
			get, kind = from(branch), branch.kind
		}
	}
	if get == nil {
		return nil, fmt.Errorf("field %s: a shift has nothing that fits its type", target.name)
	}
	var absent any
	if !nullable {
		absent = zeroOf(kind)
	}
	box := map[string]any{} // the codec wants the value of a union as a map from its type
	var last any
	written := false
	return func(t *T, into map[string]any) error {
		v, err := get(t)
		if err != nil {
			return fmt.Errorf("%s: %w", target.name, err)
		}
		if v == nil {
			v = absent
		}
		// Most values are those of the shift before, and writing to a map is what costs. An array is one that changes
		// under the same slice.
		if written && kind != "array" && v == last {
			return nil
		}
		last, written = v, true
		if target.union && v != nil {
			box[kind] = v
			v = box
		}
		into[target.name] = v
		return nil
	}, nil
}

// zeroOf returns what stands for nothing in a type without null.
func zeroOf(kind string) any {
	switch kind {
	case "long", "int":
		return int64(0)
	case "double":
		return float64(0)
	case "boolean":
		return false
	case "string":
		return ""
	case "array":
		return []any{}
	}
	return nil
}
