package publish

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/linkedin/goavro/v2"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// foundCodec is what became of looking for a schema.
type foundCodec struct {
	codec *goavro.Codec
	err   error
	until time.Time // when to look again, if err is set
}

const (
	maxCodecs    = 64
	codecTimeout = 10 * time.Second // longest wait for the registry
	codecRetry   = 30 * time.Second // a schema that could not be had is not asked for with each record
)

var errUnframed = errors.New("not in Confluent's wire format")

// Fields returns the fields of a key or value in Confluent's wire format by their names, and the id of its schema,
// which is 0 if there is none. A field is nil, bool, string, json.Number, []any or map[string]any; unions are
// unwrapped, so that fields written with different schemas can be compared. An error quotes nothing of the content.
func (r *Reader) Fields(ctx context.Context, framed []byte) (map[string]any, shiftsync.SchemaID, error) {
	if len(framed) < headerBytes || framed[0] != 0 {
		return nil, 0, errUnframed
	}
	id := shiftsync.SchemaID(binary.BigEndian.Uint32(framed[1:]))
	if id <= 0 {
		return nil, 0, errors.New("its schema id cannot be: not in Confluent's wire format")
	}
	codec, err := r.codec(ctx, id)
	if err != nil {
		return nil, id, fmt.Errorf("schema %d: %w", id, err)
	}
	fields, err := fieldsOf(codec, framed[headerBytes:])
	if err != nil {
		return nil, id, fmt.Errorf("schema %d: %w", id, err)
	}
	return fields, id, nil
}

func fieldsOf(codec *goavro.Codec, body []byte) (map[string]any, error) {
	native, rest, err := codec.NativeFromBinary(body)
	switch {
	case err != nil: // the codec's own words may quote the content
		return nil, errors.New("the bytes do not fit it")
	case len(rest) > 0:
		return nil, fmt.Errorf("%d bytes are left over", len(rest))
	}
	// The codec wraps each value of a union in a map, and only it knows which maps those are: its JSON has none.
	text, err := codec.TextualFromNative(nil, native)
	if err != nil {
		return nil, errors.New("cannot be shown as JSON")
	}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber() // a float64 would bend large ids
	var fields map[string]any
	if err := numbers.Decode(&fields); err != nil || fields == nil {
		return nil, errors.New("it is not a record")
	}
	return fields, nil
}

// codec returns the codec of a schema, which it asks the registry for once.
func (r *Reader) codec(ctx context.Context, id shiftsync.SchemaID) (*goavro.Codec, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.codecs[id]; ok && (f.err == nil || time.Now().Before(f.until)) {
		return f.codec, f.err
	}
	bounded, cancel := context.WithTimeout(ctx, codecTimeout)
	defer cancel()
	f := foundCodec{until: time.Now().Add(codecRetry)}
	found, err := r.registry.Schema(bounded, id)
	switch {
	case err != nil:
		f.err = err
	case found.Foreign != "":
		f.err = errors.New(found.Foreign)
	default:
		if f.codec, f.err = goavro.NewCodecForStandardJSONFull(found.Schema); f.err != nil {
			f.err = fmt.Errorf("avro schema: %w", f.err)
		}
	}
	if f.err != nil && ctx.Err() != nil {
		return nil, f.err // says nothing of the schema
	}
	if len(r.codecs) >= maxCodecs {
		clear(r.codecs)
	}
	r.codecs[id] = f
	return f.codec, f.err
}

func (r *Reader) decode(ctx context.Context, m *message) Decoded {
	d := Decoded{
		Partition:  m.partition,
		Offset:     m.offset,
		Time:       m.time,
		KeyBytes:   len(m.key),
		ValueBytes: len(m.value),
		Tombstone:  m.value == nil,
	}
	if len(m.headers) > 0 {
		d.Headers = make(map[string]string, len(m.headers))
	}
	for _, h := range m.headers {
		d.Headers[h.Key] = string(h.Value)
	}
	if d.Headers[headerContentType] == typeJSON {
		d.readLetter(m)
		return d
	}
	var keyErr, valueErr error
	if d.Key, d.KeySchema, keyErr = r.Fields(ctx, m.key); keyErr != nil {
		keyErr = fmt.Errorf("key: %w", keyErr)
	}
	if !d.Tombstone {
		if d.Value, d.ValueSchema, valueErr = r.Fields(ctx, m.value); valueErr != nil {
			valueErr = fmt.Errorf("value: %w", valueErr)
		}
		if full := d.Headers[headerFullBytes]; full != "" {
			d.Value, valueErr = nil, errCut(full)
		}
	}
	switch {
	case keyErr != nil && valueErr != nil:
		d.Err = fmt.Errorf("%w; %w", keyErr, valueErr)
	case keyErr != nil:
		d.Err = keyErr
	default:
		d.Err = valueErr
	}
	return d
}

func errCut(full string) error {
	return fmt.Errorf("value: cut, it had %s bytes", full)
}

// readLetter reads a dead letter that holds a shift's JSON. Its key is the shift's id, if it has one.
func (d *Decoded) readLetter(m *message) {
	if _, err := strconv.ParseInt(string(m.key), 10, 64); err == nil {
		d.Key = map[string]any{"id": json.Number(m.key)}
	}
	if full := d.Headers[headerFullBytes]; full != "" {
		d.Err = errCut(full)
		return
	}
	numbers := json.NewDecoder(bytes.NewReader(m.value))
	numbers.UseNumber() // a float64 would bend large ids
	if err := numbers.Decode(&d.Value); err != nil || d.Value == nil {
		d.Value, d.Err = nil, errors.New("value: no whole JSON object") // the decoder's own words may quote the content
	}
}

// ID returns the shift's id, if the key has one.
func (d *Decoded) ID() (int64, bool) {
	n, ok := d.Key["id"].(json.Number)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(n.String(), 10, 64)
	return id, err == nil
}
