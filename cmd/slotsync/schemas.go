package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slotsync/slotsync/publish"
)

// adviceOnRefusal is what helps when the registry does not take our schema.
const adviceOnRefusal = "see what `slotsync schemas show` prints, and let the subject's compatibility be FULL or a weaker level, " +
	"or give the registry's user the right to write to the subject, or register the schema by hand"

// showSchemas prints each schema as it would be registered, and what the registry has of its subject.
func showSchemas(ctx context.Context, cfg *config, stdout io.Writer) error {
	subjects, _, err := inspect(ctx, cfg)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	for i, p := range subjects {
		if i > 0 {
			page.WriteByte('\n')
		}
		fmt.Fprintf(&page, "%s: %s\n%s\n", p.Subject, newest(p), outlook(p))
		if err := json.Indent(&page, []byte(p.Ours), "", "  "); err != nil {
			return fmt.Errorf("show %s: %w", p.Subject, err)
		}
		page.WriteByte('\n')
	}
	_, err = io.WriteString(stdout, visible(page.String()))
	return err
}

// checkSchemas prints a line for each subject, and fails if one of our schemas is not registered and could not be.
func checkSchemas(ctx context.Context, cfg *config, stdout io.Writer) error {
	subjects, notices, err := inspect(ctx, cfg)
	if err != nil {
		return err
	}
	return judge(subjects, notices, stdout)
}

// registerSchemas registers both schemas, or none if it is known beforehand that one would be refused.
func registerSchemas(ctx context.Context, cfg *config, stdout io.Writer) error {
	willing := *cfg
	willing.Registry.Register = true // that is what was asked for
	subjects, notices, err := inspect(ctx, &willing)
	if err != nil {
		return err
	}
	if err := judge(subjects, notices, io.Discard); err != nil {
		return fmt.Errorf("nothing was registered: %w", err)
	}
	encoder, err := connectEncoder(&willing)
	if err != nil {
		return err
	}
	found, err := encoder.Prepare(ctx, false)
	if err != nil {
		return err
	}
	if len(found.Notices) > 0 {
		return fmt.Errorf("%s: %s", strings.Join(found.Notices, "; "), adviceOnRefusal)
	}
	_, err = fmt.Fprintf(stdout, "%s: schema id %d\n%s: schema id %d\n", subjects[0].Subject, found.Key, subjects[1].Subject, found.Value)
	return err
}

func connectEncoder(cfg *config) (*publish.Avro, error) {
	registry, err := newRegistry(cfg)
	if err != nil {
		return nil, err
	}
	return newEncoder(cfg, registry)
}

// inspect returns the state of the key's and the value's subject, and what there is to say of the choice.
func inspect(ctx context.Context, cfg *config) (subjects []publish.SubjectState, notices []string, err error) {
	encoder, err := connectEncoder(cfg)
	if err != nil {
		return nil, nil, err
	}
	in, err := encoder.Inspect(ctx)
	if err != nil {
		return nil, nil, err
	}
	return []publish.SubjectState{in.Key, in.Value}, in.Notices, nil
}

// judge prints how each subject stands, and returns an error that says which of them are not well.
func judge(subjects []publish.SubjectState, notices []string, stdout io.Writer) error {
	var faults []error
	for _, p := range subjects {
		if _, err := fmt.Fprintf(stdout, "%s: %s; %s\n", p.Subject, newest(p), outlook(p)); err != nil {
			return err
		}
		switch {
		case p.Err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", p.Subject, p.Err))
		case !p.Fits:
			faults = append(faults, fmt.Errorf("%s: %s", strings.Join(notices, "; "), adviceOnRefusal))
		}
	}
	return errors.Join(faults...)
}

func newest(p publish.SubjectState) string {
	if p.Latest.ID == 0 {
		return "no version yet"
	}
	return fmt.Sprintf("the newest is version %d, schema id %d", p.Latest.Version, p.Latest.ID)
}

// outlook says what would be written with.
func outlook(p publish.SubjectState) string {
	switch {
	case p.Err != nil:
		return "there is nothing to write with"
	case p.Use == 0:
		return "ours would be registered"
	case !p.Fits || p.Refused != nil:
		return fmt.Sprintf("schema id %d would be used, which is not ours", p.Use)
	default:
		return fmt.Sprintf("schema id %d is used", p.Use)
	}
}
