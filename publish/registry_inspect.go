package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// Inspection is what a registry holds for the topic, and what would be written with it.
type Inspection struct {
	Key, Value SubjectState
	Notices    []string // what Prepare would say of its choice
	size       *plan    // of the value that would be written
}

// SubjectState is a subject, and the choice that would be made in it.
type SubjectState struct {
	Subject  string
	Ours     string        // our schema as one line; of a key that can be used as it is, that one
	Latest   SchemaVersion // zero: there is none yet
	Level    string        // of compatibility, such as BACKWARD; empty: not told
	KeyType  string        // of a key that is there: the type of its id, or in words what else it is
	Proposed bool          // our schema is not registered, would be, and the registry calls it compatible
	Fits     bool          // our schema is registered, or could be as far as the registry tells
	Refused  error         // why our schema, which is not registered, would not be; nil: nothing speaks against it
	Use      shiftsync.SchemaID
	Added    []string // fields that records would have and the latest version does not; nil without a latest version
	Missing  []string // fields of a shift that records would not have
	Err      error    // why nothing could be written; the other fields of the choice are zero
}

// Inspect makes the choice of Prepare without registering anything: where Prepare would register, it asks whether the
// schema is compatible. Whether there is a right to register cannot be asked. The error says why the registry could
// not be asked at all; what only stands against writing is in the subjects' Err.
func (a *Avro) Inspect(ctx context.Context) (*Inspection, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	in := &Inspection{Key: SubjectState{Subject: a.topic + "-key"}, Value: SubjectState{Subject: a.topic + "-value"}}
	for _, s := range []*SubjectState{&in.Key, &in.Value} {
		latest, err := a.registry.Latest(ctx, s.Subject)
		if err != nil && !errors.Is(err, ErrNotRegistered) {
			return nil, fmt.Errorf("subject %s: %w", s.Subject, err)
		}
		s.Latest = latest
		s.Level = a.registry.level(ctx, s.Subject)
	}
	in.Key.Ours, in.Value.Ours = schemas.Key(a.firstNamespace()), schemas.Value(a.firstNamespace())
	if in.Key.Latest.ID != 0 {
		in.Key.KeyType = keyType(in.Key.Latest)
		switch in.Key.KeyType {
		case "long":
			in.Key.Ours = in.Key.Latest.Schema
		case "int":
			in.Key.Ours = longKey(in.Key.Latest.Schema)
		}
	}
	if in.Value.Latest.ID != 0 {
		in.Value.Ours = schemas.Value(a.valueNamespace(in.Value.Latest))
	}

	in.Key.Use, in.Key.Err = a.asking(&in.Key).chooseKey(ctx, in.Key.Subject)
	value, notices, err := a.asking(&in.Value).chooseValue(ctx, in.Value.Subject)
	in.Notices, in.Value.Err = notices, err
	if in.Value.Err == nil {
		in.size, in.Value.Use, in.Value.Missing = value, value.id, value.missing
		in.Value.Added = added(in.Value.Latest, value)
	}
	for _, s := range []*SubjectState{&in.Key, &in.Value} {
		s.Fits = s.Refused == nil && s.Err == nil || errors.Is(s.Refused, errRegisterOff)
	}
	return in, ctx.Err()
}

// asking returns a copy that asks where it would register, and notes the answer.
func (a *Avro) asking(s *SubjectState) *Avro {
	dry := *a // choosing writes to nothing that the two share
	dry.register = true
	dry.propose = func(ctx context.Context, subject, schema string, exists bool) error {
		switch fits, err := a.registry.fits(ctx, subject, schema, exists); {
		case err != nil:
			return err
		case !fits:
			s.Refused = fmt.Errorf("%w: not compatible with version %d under %s", ErrRegistryRefused, s.Latest.Version, orUnknown(s.Level))
		case !a.register:
			s.Refused = errRegisterOff
		default:
			s.Proposed = true
		}
		return s.Refused
	}
	return &dry
}

// wouldFit returns nil if the schema could become a version of the subject.
func (a *Avro) wouldFit(ctx context.Context, subject, schema string, exists bool) error {
	fits, err := a.registry.fits(ctx, subject, schema, exists)
	if err == nil && !fits {
		err = fmt.Errorf("%w: not compatible with the newest version", ErrRegistryRefused)
	}
	return err
}

// fits asks whether a schema could become a version of the subject, in which any can be the first.
func (r *Registry) fits(ctx context.Context, subject, schema string, exists bool) (bool, error) {
	if !exists {
		return true, nil
	}
	return r.Compatible(ctx, subject, schema)
}

// level returns the compatibility level that holds for a subject, its own or the registry's; "" if it is not told.
func (r *Registry) level(ctx context.Context, subject string) string {
	c := r.client(ctx)
	level, err := c.GetCompatibilityLevel(subject, true)
	if errors.Is(err, ErrNotRegistered) || isUnknownConfig(err) {
		level, err = c.GetGlobalCompatibilityLevel()
	}
	if err != nil || level == nil {
		return ""
	}
	return string(*level)
}

// isUnknownConfig recognises registries that have no settings for a subject without own ones (40408).
func isUnknownConfig(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.status == 404
}

func orUnknown(level string) string {
	if level == "" {
		return "a compatibility level that is not told"
	}
	return level
}

// added names the fields of what would be written that the latest version lacks.
func added(latest SchemaVersion, p *plan) []string {
	there, err := parseType(json.RawMessage(latest.Schema))
	if latest.ID == 0 || err != nil {
		return nil
	}
	has := fieldNames(there.fields)
	var more []string
	for _, f := range shiftFields() {
		if !slices.Contains(has, f.name) && !slices.Contains(p.missing, f.name) {
			more = append(more, f.name)
		}
	}
	return more
}

// ValueBytes returns how long the value of the shift's record would be, framing included.
func (in *Inspection) ValueBytes(s *shiftsync.Shift) (int, error) {
	if in.size == nil {
		return 0, errNotPrepared
	}
	body, err := in.size.append(nil, s)
	return len(appendHeader(nil, 0)) + len(body), err
}
