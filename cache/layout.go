package cache

import (
	"context"
	"fmt"
	"strconv"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Bind compares a layout with the remembered one. Of several differences it names the first. One that is accepted is
// remembered when all shifts are forgotten: if it does not come to that, it is a difference still.
func (r *Redis) Bind(ctx context.Context, owner shiftsync.Owner, l shiftsync.Layout, accept bool) error {
	differs, err := r.bind(ctx, owner, l, false)
	if err != nil || len(differs) != 2 {
		return err
	}
	if accept {
		forget := r.Forget
		if differs[0] == accountField {
			forget = r.drop // another account knows nothing of the shifts of this one, and would deny them
		}
		if err := forget(ctx, owner); err != nil {
			return fmt.Errorf("forget shifts: %w", err)
		}
		_, err := r.bind(ctx, owner, l, true)
		return err
	}
	was, err := layoutOf(map[string]string{differs[0]: differs[1]})
	if err != nil {
		return err
	}
	if found := was.Differences(l); len(found) > 0 {
		return found[0]
	}
	return fmt.Errorf("remembered layout: %s is %q, which no worker writes", differs[0], differs[1])
}

// bind remembers a layout, or returns the name and the remembered value of a field that differs.
func (r *Redis) bind(ctx context.Context, owner shiftsync.Owner, l shiftsync.Layout, accept bool) (differs []string, err error) {
	args := []any{owner.Token, accept}
	for _, field := range fieldsOf(l) {
		if field.value != "" {
			args = append(args, field.name, field.value)
		}
	}
	cmd, err := r.run(ctx, r.script.bind, []string{r.key.lease, r.key.layout}, args...)
	if err != nil {
		return nil, err
	}
	differs, err = cmd.StringSlice()
	return differs, explain(r.client, err)
}

const accountField = "account"

type layoutField struct{ name, value string } // value is empty if it is not to be compared

func fieldsOf(l shiftsync.Layout) []layoutField {
	return []layoutField{
		{accountField, number(l.Account)},
		{"partitions", number(int64(l.Partitions))},
		{"fixed", l.Fixed},
		{"key_schema", number(int64(l.KeySchema))},
	}
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Bound returns the remembered layout.
func (r *Redis) Bound(ctx context.Context) (l shiftsync.Layout, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	fields, err := r.client.HGetAll(ctx, r.key.layout).Result()
	if err != nil {
		return l, explain(r.client, err)
	}
	return layoutOf(fields)
}

// layoutOf reads a layout from the fields of its hash.
func layoutOf(fields map[string]string) (l shiftsync.Layout, err error) {
	l.Fixed = fields["fixed"]
	for _, field := range []struct {
		name string
		bits int
		set  func(int64)
	}{
		{accountField, 64, func(n int64) { l.Account = n }},
		{"partitions", 32, func(n int64) { l.Partitions = int(n) }},
		{"key_schema", 32, func(n int64) { l.KeySchema = shiftsync.SchemaID(n) }},
	} {
		text, told := fields[field.name]
		if !told {
			continue
		}
		n, err := strconv.ParseInt(text, 10, field.bits)
		if err != nil {
			return l, fmt.Errorf("remembered layout: %s: %w", field.name, err)
		}
		field.set(n)
	}
	return l, nil
}

// Ends returns the highest acknowledged offset of each partition.
func (r *Redis) Ends(ctx context.Context) (map[int]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	fields, err := r.client.HGetAll(ctx, r.key.ends).Result()
	if err != nil {
		return nil, explain(r.client, err)
	}
	ends := make(map[int]int64, len(fields))
	for field, value := range fields {
		partition, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("hgetall ends: partition: %w", err)
		}
		if ends[partition], err = strconv.ParseInt(value, 10, 64); err != nil {
			return nil, fmt.Errorf("hgetall ends: partition %d: %w", partition, err)
		}
	}
	return ends, nil
}

// Forget drops what is remembered of every shift but when it is, page by page, and then Ends.
func (r *Redis) Forget(ctx context.Context, owner shiftsync.Owner) error {
	gone := shiftsync.FingerprintOf(nil)
	for cursor := "0"; ; {
		cmd, err := r.run(ctx, r.script.forget, []string{r.key.lease, r.key.shifts, r.key.ends}, owner.Token, cursor, gone[:])
		if err != nil {
			return err
		}
		if cursor, err = cmd.Text(); err != nil {
			return explain(r.client, err)
		}
		if cursor == "0" {
			return nil
		}
	}
}

// drop forgets every shift for good, and Ends.
func (r *Redis) drop(ctx context.Context, owner shiftsync.Owner) error {
	_, err := r.run(ctx, r.script.drop, []string{r.key.lease, r.key.shifts, r.key.ends}, owner.Token)
	return err
}
