package cache

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Want makes shifts wanted again: what is remembered of them, or that they were set aside, is forgotten, and whoever
// holds the lease publishes them. It needs no lease, since forgetting costs a repeat at most. It returns how many of
// them were remembered.
func (r *Redis) Want(ctx context.Context, ids []int64) (remembered int, err error) {
	keys := []string{r.key.shifts, r.key.aside, r.key.wanted}
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i := range part {
			args[i] = part[i]
		}
		n, err := r.count(ctx, r.script.want, keys, args...)
		if err != nil {
			return remembered, err
		}
		remembered += n
	}
	return remembered, nil
}

// Remembered hands each remembered shift to tell, page by page: its id and the end of its time. Those that are gone
// are none of them. One that is remembered or forgotten meanwhile may be told or not, and one may be told twice.
func (r *Redis) Remembered(ctx context.Context, tell func(id int64, end time.Time) error) error {
	for cursor := uint64(0); ; {
		page, next, err := r.scan(ctx, r.key.shifts, cursor)
		if err != nil {
			return fmt.Errorf("hscan shifts: %w", err)
		}
		for i := 0; i+1 < len(page); i += 2 {
			id, err := strconv.ParseInt(page[i], 10, 64)
			if err != nil {
				return fmt.Errorf("hscan shifts: %w", err)
			}
			var k shiftsync.Known
			readShift(page[i+1], &k)
			if s, forgotten := readStub(page[i+1]); forgotten {
				k.EndTime = s.end
				if s.ended {
					continue
				}
			}
			if k.Tombstone() {
				continue
			}
			if err := tell(id, k.EndTime); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}

// Wanted returns some of the shifts that are wanted again, as many as limit at most.
func (r *Redis) Wanted(ctx context.Context, limit int) (ids []int64, err error) {
	for cursor := uint64(0); ; {
		page, next, err := r.scan(ctx, r.key.wanted, cursor)
		if err != nil {
			return nil, fmt.Errorf("hscan wanted: %w", err)
		}
		for i := 0; i+1 < len(page) && len(ids) < limit; i += 2 {
			if page[i+1] != "" {
				continue // an intent serves it
			}
			id, err := strconv.ParseInt(page[i], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("hscan wanted: %w", err)
			}
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if next == 0 || len(ids) >= limit {
			return r.withoutIntent(ctx, ids)
		}
		cursor = next
	}
}

// withoutIntent leaves out the shifts for which an older intent stands. Its record comes first.
func (r *Redis) withoutIntent(ctx context.Context, ids []int64) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	fields := make([]string, len(ids))
	for i, id := range ids {
		fields[i] = strconv.FormatInt(id, 10)
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	intents, err := r.client.HMGet(ctx, r.key.intents, fields...).Result()
	if err != nil {
		return nil, fmt.Errorf("hmget intents: %w", explain(r.client, err))
	}
	var free []int64
	for i, intent := range intents {
		if intent == nil {
			free = append(free, ids[i])
		}
	}
	return free, nil
}

// Unwant ends the wish for a shift that is not to be had.
func (r *Redis) Unwant(ctx context.Context, term shiftsync.Term, id int64) error {
	_, err := r.run(ctx, r.script.unwant, []string{r.key.lease, r.key.wanted}, term.Owner, term.Claim, id)
	return err
}
