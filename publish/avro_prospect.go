package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// Prospect says of a subject what Prepare would find to write with.
type Prospect struct {
	Subject string
	Ours    string             // the schema that we would register, as one line; of a key that can be used as it is, that one
	Latest  SchemaVersion      // the newest version; its ID is 0 if there is none
	Fits    bool               // ours is registered, or may be as far as the registry tells
	ID      shiftsync.SchemaID // of the schema that records would get; 0: ours, once it is registered
	Note    string             // if not empty, why ID is not that of our schema
	Err     error              // why there is nothing to write with; then neither Fits nor ID counts
}

// Prospects tells what Prepare would find for keys and values, and changes nothing in the registry. The registry
// compares with the newest version only: one that is set to compare with all may still refuse to register. Its error
// says that the registry could not be asked.
func (a *Avro) Prospects(ctx context.Context) (key, value Prospect, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if key, err = a.keyProspect(ctx, a.topic+"-key"); err != nil {
		return key, value, fmt.Errorf("key subject %s-key: %w", a.topic, err)
	}
	if value, err = a.valueProspect(ctx, a.topic+"-value"); err != nil {
		return key, value, fmt.Errorf("value subject %s-value: %w", a.topic, err)
	}
	return key, value, nil
}

func (a *Avro) keyProspect(ctx context.Context, subject string) (Prospect, error) {
	p := Prospect{Subject: subject, Ours: schemas.Key(a.firstNamespace())}
	if err := a.latest(ctx, &p); err != nil {
		return p, err
	}
	if p.Latest.ID != 0 {
		switch keyType(p.Latest) {
		case "long":
			p.Ours = p.Latest.Schema
		case "int":
			p.Ours = longKey(p.Latest.Schema)
		}
	}
	p.ID, p.Err = a.as(trying).chooseKey(ctx, subject)
	p.Fits = p.Err == nil
	if p.Fits && p.ID == 0 && !a.register {
		_, p.Err = a.as(!trying).chooseKey(ctx, subject)
	}
	return p, unanswered(ctx, p.Err)
}

func (a *Avro) valueProspect(ctx context.Context, subject string) (Prospect, error) {
	p := Prospect{Subject: subject, Ours: schemas.Value(a.firstNamespace())}
	if err := a.latest(ctx, &p); err != nil {
		return p, err
	}
	if p.Latest.ID != 0 {
		p.Ours = schemas.Value(a.valueNamespace(p.Latest))
	}
	found, notices, err := a.as(trying).chooseValue(ctx, subject)
	p.Fits = err == nil && len(notices) == 0
	if p.Fits && found.id == 0 && !a.register {
		found, notices, err = a.as(!trying).chooseValue(ctx, subject)
	}
	if err != nil {
		p.Err = err
		return p, unanswered(ctx, err)
	}
	p.ID = found.id
	if len(notices) > 0 {
		p.Note = notices[0]
	}
	return p, nil
}

func (a *Avro) latest(ctx context.Context, p *Prospect) error {
	var err error
	if p.Latest, err = a.registry.Latest(ctx, p.Subject); errors.Is(err, ErrNotRegistered) {
		return nil
	}
	return err
}

// as returns an encoder that chooses as a would, and registers nothing: trying, it asks whether it could.
func (a *Avro) as(try bool) *Avro {
	dry := &Avro{registry: a.registry, topic: a.topic, namespace: a.namespace, register: try}
	dry.propose = dry.wouldFit
	return dry
}

const trying = true

// wouldFit returns nil if the schema could become a version of the subject, in which any schema can be the first.
func (a *Avro) wouldFit(ctx context.Context, subject, schema string, exists bool) error {
	fits, err := a.registry.fits(ctx, subject, schema, exists)
	switch {
	case err != nil:
		return fmt.Errorf("ask for compatibility: %w", err)
	case !fits:
		return fmt.Errorf("%w: not compatible with the newest version", ErrRegistryRefused)
	}
	return nil
}

// unanswered returns err if it says nothing of the subject.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return nil
}
