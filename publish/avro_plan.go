package publish

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/linkedin/goavro/v2"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// plan is a value schema made ready to write shifts with: what appends each field, in the order of the schema. The
// library's codec would need a map of each shift first, which takes ten times as long as all the rest; so it only checks
// here that it reads what is written.
type plan struct {
	id      shiftsync.SchemaID
	schema  string
	write   recordWriter[shiftsync.Shift]
	shower  *goavro.Codec // for Avro.Fields; nil until it is wanted
	missing []string      // fields of a shift that the schema has no place for
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
	if p.write, err = newRecordWriter(t, known); err != nil {
		return nil, err
	}
	codec, err := goavro.NewCodec(v.Schema)
	if err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	// A schema may mean something else than it seemed to; better to hear of it now than from a consumer.
	empty, err := p.append(nil, &shiftsync.Shift{})
	if err != nil {
		return nil, err
	}
	if _, rest, err := codec.NativeFromBinary(empty); err != nil || len(rest) > 0 {
		return nil, errors.New("what is written with it cannot be read")
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
func (p *plan) append(buf []byte, s *shiftsync.Shift) ([]byte, error) { return p.write.append(buf, s) }

// recordWriter appends the fields of a T, one after the other, which is all that a record is.
type recordWriter[T any] []func([]byte, *T) ([]byte, error)

func newRecordWriter[T any](record avroType, known []field[T]) (recordWriter[T], error) {
	var w recordWriter[T]
	for _, target := range record.fields {
		i := slices.IndexFunc(known, func(k field[T]) bool { return k.name == target.name })
		if i < 0 {
			value, err := defaultOf(target)
			if err != nil {
				return nil, err
			}
			w = append(w, func(buf []byte, _ *T) ([]byte, error) { return append(buf, value...), nil })
			continue
		}
		write, err := fieldWriter(target, known[i].source)
		if err != nil {
			return nil, err
		}
		w = append(w, write)
	}
	return w, nil
}

func (w recordWriter[T]) append(buf []byte, t *T) ([]byte, error) {
	var err error
	for _, write := range w {
		if buf, err = write(buf, t); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// fieldWriter returns what appends one field, in the first branch of its type that the source can be written as. A value
// that is not there becomes null, or where there is no null the zero of the type.
func fieldWriter[T any](target avroField, from source[T]) (func([]byte, *T) ([]byte, error), error) {
	var write writer[T]
	var branch int
	var absent []byte
	for i, b := range target.branches {
		if b.kind == "null" && absent == nil {
			absent = appendLong(nil, int64(i))
		} else if write == nil {
			write, branch = from(b), i
		}
	}
	if write == nil {
		return nil, fmt.Errorf("field %s: a shift has nothing that fits its type", target.name)
	}
	var prefix []byte // which branch follows
	if target.union {
		prefix = appendLong(nil, int64(branch))
	}
	if absent == nil {
		absent = append(slices.Clip(prefix), zeroOf(target.branches[branch].kind)...)
	}
	return func(buf []byte, t *T) ([]byte, error) {
		start := len(buf)
		buf, there, err := write(append(buf, prefix...), t)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", target.name, err)
		case !there:
			return append(buf[:start], absent...), nil
		}
		return buf, nil
	}, nil
}

// defaultOf returns the default of a field, of which a shift knows nothing.
func defaultOf(f avroField) ([]byte, error) {
	switch {
	case !f.hasDefault || len(f.branches) == 0:
		return nil, fmt.Errorf("field %s is not known and has no default", f.name)
	case f.branches[0].kind == "null":
		if f.union {
			return appendLong(nil, 0), nil // the first branch is what a default is of
		}
		return nil, nil
	}
	codec, err := goavro.NewCodec(`{"type":"record","name":"with_default","fields":[` + string(f.json) + `]}`)
	if err != nil {
		return nil, fmt.Errorf("field %s is not known, and its default is of a type that is defined elsewhere", f.name)
	}
	value, err := codec.BinaryFromNative(nil, map[string]any{})
	if err != nil {
		return nil, fmt.Errorf("field %s is not known, and its default cannot be written", f.name)
	}
	return value, nil
}

// zeroOf returns what stands for nothing in a type without null, or nil if the type is none that is written.
func zeroOf(kind string) []byte {
	switch kind {
	case "long", "int", "boolean", "string", "array":
		return make([]byte, 1) // nothing, false, or a length of nothing
	case "double":
		return make([]byte, 8)
	}
	return nil
}

// appendLong appends a long or an int.
func appendLong(buf []byte, v int64) []byte { return binary.AppendVarint(buf, v) }
