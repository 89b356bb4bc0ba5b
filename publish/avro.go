package publish

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/linkedin/goavro/v2"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Avro forms records in Confluent's wire format: a zero byte, the schema id in four bytes, the Avro body. It finds the
// schemas in a registry and keeps what it needs of them, so that a registry that goes away later stops nothing.
//
// Its methods must not be called at the same time.
type Avro struct {
	registry  *Registry
	topic     string
	namespace string
	register  bool
	refresh   time.Duration
	timeout   time.Duration
	// propose is asked in place of the registration, by who only wants to know; nil: schemas are registered.
	propose func(ctx context.Context, subject, schema string, exists bool) error

	current choice    // its plan is nil until the first Prepare
	trouble string    // why current could not be refreshed
	due     time.Time // of the next refresh
	earlier map[shiftsync.SchemaID]earlier
	scratch []byte
}

var _ shiftsync.Encoder = (*Avro)(nil)

// AvroOptions say how schemas are found. The zero value registers nothing.
type AvroOptions struct {
	// Namespace is that of a schema that is the first one of its subject; empty: the topic's name, or slotsync where
	// that is none.
	Namespace string
	Register  bool          // whether schemas may be registered
	DryRun    bool          // register nothing: where a schema would be registered, its id is 0
	Refresh   time.Duration // how long Prepare stays with what it found; 0: 5 minutes
	Timeout   time.Duration // longest time that the registry may take for one call of Prepare or Fingerprint; 0: 10 s
}

// earlier is a schema that records were written with before, or the reason why it cannot be used.
type earlier struct {
	plan *plan
	err  error
}

// maxEarlier bounds the plans kept for Fingerprint. One is in use after a change of schema, rarely two.
const maxEarlier = 8

var errNotPrepared = errors.New("no schema: encoded before a successful Prepare")

// NewAvro returns an encoder for the topic, whose subjects are <topic>-key and <topic>-value. It does not ask the
// registry yet.
func NewAvro(registry *Registry, topic string, o AvroOptions) (*Avro, error) {
	if o.Namespace != "" && !validNamespace(o.Namespace) {
		return nil, fmt.Errorf("%q is not an Avro namespace: names of letters, digits and _, joined by dots", o.Namespace)
	}
	a := &Avro{
		registry:  registry,
		topic:     topic,
		namespace: o.Namespace,
		register:  o.Register,
		refresh:   o.Refresh,
		timeout:   o.Timeout,
		earlier:   map[shiftsync.SchemaID]earlier{},
	}
	if o.DryRun {
		a.propose = a.wouldFit
	}
	if a.refresh == 0 {
		a.refresh = 5 * time.Minute
	}
	if a.timeout == 0 {
		a.timeout = 10 * time.Second
	}
	return a, nil
}

// Prepare finds the schemas to write with, and registers ours where that is allowed. It then stays with them until a
// refresh is due, or until it is to look anew. Once it has succeeded it only fails with its context: what it found stays in use, with a notice.
func (a *Avro) Prepare(ctx context.Context, anew bool) (shiftsync.Schemas, error) {
	for id, e := range a.earlier {
		if e.err != nil {
			delete(a.earlier, id)
		}
	}
	if anew || a.current.plan == nil || !time.Now().Before(a.due) {
		if err := a.look(ctx); err != nil {
			return shiftsync.Schemas{}, fmt.Errorf("find schemas: %w", err)
		}
	}
	found := shiftsync.Schemas{Key: a.current.key, Value: a.current.plan.id, Notices: slices.Clone(a.current.notices)}
	if a.trouble != "" {
		found.Notices = append(found.Notices, "the schemas in use stay, looking for newer ones went wrong: "+a.trouble)
	}
	return found, nil
}

func (a *Avro) look(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	found, err := a.choose(bounded)
	switch {
	case err == nil:
		a.current, a.trouble, a.due = found, "", time.Now().Add(a.refresh)
	case a.current.plan == nil || ctx.Err() != nil:
		return err
	default:
		// Sooner than usual, but not in each pass: it may have cost the whole timeout.
		a.trouble, a.due = err.Error(), time.Now().Add(a.refresh/10)
	}
	return nil
}

// Encode appends the shift's key and value to buf. It fails for a shift with a number or a date that the schema cannot
// hold; the error names the field.
func (a *Avro) Encode(s *shiftsync.Shift, buf []byte, into *shiftsync.Record) ([]byte, error) {
	value := a.current.plan
	if value == nil {
		return buf, errNotPrepared
	}
	start := len(buf)
	grown := AppendKey(buf, a.current.key, s.ID)
	middle := len(grown)
	grown = appendHeader(grown, value.id)
	body := len(grown)
	grown, err := value.append(grown, s)
	if err != nil {
		return buf, err
	}
	// Only now: each append may have moved the bytes.
	into.ID = s.ID
	into.Key = grown[start:middle:middle]
	into.Value = grown[middle:len(grown):len(grown)]
	into.Fingerprint = shiftsync.FingerprintOf(grown[body:])
	into.Schema = value.id
	into.UpdatedAt = s.UpdatedAt
	into.EndTime = s.EndTime
	into.StartTime = s.StartTime
	return grown, nil
}

// Tombstone appends the key of a shift that is gone to buf.
func (a *Avro) Tombstone(id int64, buf []byte, into *shiftsync.Record) ([]byte, error) {
	if a.current.plan == nil {
		return buf, errNotPrepared
	}
	start := len(buf)
	buf = AppendKey(buf, a.current.key, id)
	*into = shiftsync.Record{ID: id, Key: buf[start:len(buf):len(buf)]}
	into.Fingerprint, into.Schema = shiftsync.FingerprintOf(nil), a.current.plan.id
	return buf, nil
}

// Fields returns the fields of a value that Encode has formed since the last Prepare, in the form of Reader.Fields. It
// asks no registry: to that, the schema of a dry run may be unknown.
func (a *Avro) Fields(value []byte) (map[string]any, error) {
	p := a.current.plan
	if p == nil {
		return nil, errNotPrepared
	}
	if p.shower == nil {
		shower, err := goavro.NewCodecForStandardJSONFull(p.schema)
		if err != nil {
			return nil, fmt.Errorf("avro schema: %w", err)
		}
		p.shower = shower
	}
	if len(value) < headerBytes {
		return nil, errUnframed
	}
	return fieldsOf(p.shower, value[headerBytes:])
}

// Fingerprint returns the fingerprint that the shift would have under another schema, which it asks the registry for
// once. An answer that the schema is not there or cannot be filled is believed until the next Prepare.
func (a *Avro) Fingerprint(ctx context.Context, s *shiftsync.Shift, schema shiftsync.SchemaID) (shiftsync.Fingerprint, error) {
	p, err := a.planOf(ctx, schema)
	if err != nil {
		return shiftsync.Fingerprint{}, fmt.Errorf("schema %d: %w", schema, err)
	}
	if a.scratch, err = p.append(a.scratch[:0], s); err != nil {
		return shiftsync.Fingerprint{}, fmt.Errorf("schema %d: %w", schema, err)
	}
	return shiftsync.FingerprintOf(a.scratch), nil
}

func (a *Avro) planOf(ctx context.Context, schema shiftsync.SchemaID) (*plan, error) {
	if p := a.current.plan; p != nil && p.id == schema {
		return p, nil
	}
	if e, ok := a.earlier[schema]; ok {
		return e.plan, e.err
	}
	bounded, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var p *plan
	found, err := a.registry.Schema(bounded, schema)
	if err == nil {
		p, err = newPlan(found)
	}
	if err != nil && ctx.Err() != nil {
		return nil, err // says nothing of the schema
	}
	if len(a.earlier) >= maxEarlier {
		clear(a.earlier)
	}
	a.earlier[schema] = earlier{p, err}
	return p, err
}

// AppendKey appends the key of a shift's record.
func AppendKey(buf []byte, schema shiftsync.SchemaID, id int64) []byte {
	return binary.AppendVarint(appendHeader(buf, schema), id) // what Avro makes of a record with one long, too
}

// headerBytes is the length of what stands before the Avro body.
const headerBytes = 5

// appendHeader appends what stands before the Avro body.
func appendHeader(buf []byte, schema shiftsync.SchemaID) []byte {
	return binary.BigEndian.AppendUint32(append(buf, 0), uint32(schema))
}

// validNamespace says whether s is one or more Avro names, joined by dots.
func validNamespace(s string) bool {
	for name := range strings.SplitSeq(s, ".") {
		if name == "" || '0' <= name[0] && name[0] <= '9' {
			return false
		}
		for i := range len(name) {
			c := name[i]
			if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}
