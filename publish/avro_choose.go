package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// choice is what was found to write with.
type choice struct {
	key     shiftsync.SchemaID
	plan    *plan // of the value
	notices []string
}

// errRegisterOff stands where a schema would have been registered.
var errRegisterOff = errors.New("REGISTER_SCHEMAS is off")

func (a *Avro) choose(ctx context.Context) (choice, error) {
	key, err := a.chooseKey(ctx, a.topic+"-key")
	if err != nil {
		return choice{}, fmt.Errorf("key subject %s-key: %w", a.topic, err)
	}
	value, notices, err := a.chooseValue(ctx, a.topic+"-value")
	if err != nil {
		return choice{}, fmt.Errorf("value subject %s-value: %w", a.topic, err)
	}
	return choice{key, value, notices}, nil
}

// chooseKey leaves the key as it is found, if it can hold an id at all: its schema id is part of the key's bytes, and
// partition and compaction hang on those.
func (a *Avro) chooseKey(ctx context.Context, subject string) (shiftsync.SchemaID, error) {
	latest, err := a.registry.Latest(ctx, subject)
	if errors.Is(err, ErrNotRegistered) {
		id, err := a.adopt(ctx, subject, schemas.Key(a.firstNamespace()), false)
		return id, adviseEmpty(err)
	}
	if err != nil {
		return 0, err
	}
	switch found := keyType(latest); found {
	case "long":
		return latest.ID, nil
	case "int":
		id, err := a.adopt(ctx, subject, longKey(latest.Schema), true)
		if isRefusal(err) {
			err = fmt.Errorf("its id is an int, too small for the ids of shifts, and it could not be evolved to long: %w: "+
				"allow BACKWARD or NONE compatibility for the subject, or register it with a long by hand, or use another topic", err)
		}
		return id, err
	default:
		return 0, fmt.Errorf("version %d is not a record with the one field id of type long (%s): "+
			"register one by hand or use another topic", latest.Version, found)
	}
}

// keyType returns the type of the field id of a record that has no other, or in words what else the schema is.
func keyType(v SchemaVersion) string {
	if v.Foreign != "" {
		return v.Foreign
	}
	t, err := parseType(json.RawMessage(v.Schema))
	switch {
	case err != nil:
		return "it cannot be read"
	case t.kind != "record":
		return "it is not a record"
	case len(t.fields) != 1 || t.fields[0].name != "id":
		return "its fields are " + strings.Join(fieldNames(t.fields), ", ")
	case len(t.fields[0].branches) != 1 || t.fields[0].union:
		return "its id is a union"
	}
	return t.fields[0].branches[0].kind
}

// longKey is our key schema under the full name of the one that is there.
func longKey(schema string) string {
	name, namespace := recordName(schema)
	ours := schemas.Key(namespace)
	return strings.Replace(ours, `"name":"Key"`, fmt.Sprintf(`"name":%q`, name), 1)
}

// chooseValue prefers our full schema, and falls back to the newest version that can be filled.
func (a *Avro) chooseValue(ctx context.Context, subject string) (*plan, []string, error) {
	latest, err := a.registry.Latest(ctx, subject)
	exists := err == nil
	if err != nil && !errors.Is(err, ErrNotRegistered) {
		return nil, nil, err
	}
	full := schemas.Value(a.firstNamespace())
	if exists {
		full = schemas.Value(a.valueNamespace(latest))
	}
	id, err := a.adopt(ctx, subject, full, exists)
	switch {
	case err == nil:
		p, err := newPlan(SchemaVersion{ID: id, Schema: full})
		return p, nil, err
	case !isRefusal(err):
		return nil, nil, err
	case !exists:
		return nil, nil, adviseEmpty(err)
	}
	refusal := err
	p, version, err := a.newestFillable(ctx, subject)
	if err != nil {
		return nil, nil, fmt.Errorf("the full schema is not registered (%w) and %w", refusal, err)
	}
	lacks := ""
	if len(p.missing) > 0 {
		lacks = ", which lacks " + strings.Join(p.missing, ", ")
	}
	notice := fmt.Sprintf("value subject %s: writing with version %d (schema id %d)%s; the full schema is not registered: %s",
		subject, version, p.id, lacks, refusal)
	return p, []string{notice}, nil
}

// newestFillable walks back through the versions of the subject to one that can be filled from a shift.
func (a *Avro) newestFillable(ctx context.Context, subject string) (*plan, int, error) {
	versions, err := a.registry.Versions(ctx, subject)
	if err != nil {
		return nil, 0, err
	}
	slices.Sort(versions)
	why := errors.New("it has none")
	for i, number := range slices.Backward(versions) {
		found, err := a.registry.Version(ctx, subject, number)
		if errors.Is(err, ErrNotRegistered) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, 0, err
		}
		p, err := newPlan(found)
		if err == nil {
			return p, number, nil
		}
		if i == len(versions)-1 { // the newest one's reason is enough to act on
			why = fmt.Errorf("version %d: %w", number, err)
		}
	}
	return nil, 0, fmt.Errorf("no version can be filled from a shift: %w", why)
}

// adopt returns the id of the schema in the subject, and makes it a version of it first if it is not and may be. If it
// is only to try, the id of a schema that could be registered is 0.
func (a *Avro) adopt(ctx context.Context, subject, schema string, exists bool) (shiftsync.SchemaID, error) {
	if exists {
		found, err := a.registry.Find(ctx, subject, schema)
		if err == nil {
			return found.ID, nil
		}
		if !errors.Is(err, ErrNotRegistered) && !errors.Is(err, ErrRegistryRefused) {
			return 0, err
		}
	}
	switch {
	case !a.register:
		return 0, errRegisterOff
	case a.propose != nil:
		return 0, a.propose(ctx, subject, schema, exists)
	}
	registered, err := a.registry.Register(ctx, subject, schema)
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	return registered.ID, nil
}

// isRefusal says whether adopt would fail again in the same way.
func isRefusal(err error) bool {
	return errors.Is(err, ErrRegistryRefused) || errors.Is(err, errRegisterOff)
}

func adviseEmpty(err error) error {
	if isRefusal(err) {
		return fmt.Errorf("no schema is registered: %w: set REGISTER_SCHEMAS=true with the right to register, or register one by hand", err)
	}
	return err
}

// firstNamespace is the namespace of a subject that has no version yet.
func (a *Avro) firstNamespace() string {
	switch {
	case a.namespace != "":
		return a.namespace
	case validNamespace(a.topic):
		return a.topic
	}
	return "slotsync"
}

// valueNamespace is the namespace of a subject that has this version.
func (a *Avro) valueNamespace(latest SchemaVersion) string {
	if name, namespace := recordName(latest.Schema); latest.Foreign == "" && name != "" {
		return namespace
	}
	return a.firstNamespace()
}

// recordName returns the name and the namespace of a schema; no name if it is none of a record.
func recordName(schema string) (name, namespace string) {
	var r struct{ Type, Name, Namespace string }
	if json.Unmarshal([]byte(schema), &r) != nil || r.Type != "record" {
		return "", ""
	}
	if dot := strings.LastIndexByte(r.Name, '.'); dot >= 0 { // a full name, beside which a namespace does not count
		return r.Name[dot+1:], r.Name[:dot]
	}
	return r.Name, r.Namespace
}
