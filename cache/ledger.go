package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Claim makes next the current term, which is one step, and then forgets page by page what is remembered of the shifts
// with an open intent, since a server serves nobody else while it goes through millions. In between nothing can be
// remembered of those shifts: the terms before are over, and nothing is sent in the new one before Claim returns. If it
// does not return, its caller makes another claim, which begins anew. An older claim of the same owner is not taken up
// again.
func (r *Redis) Claim(ctx context.Context, next shiftsync.Term) (open int, err error) {
	if next.Claim == "" {
		return 0, errors.New("a claim needs a name")
	}
	return r.numbered(ctx, func(step int64) (int, error) {
		open, err := r.count(ctx, r.script.claim, []string{r.key.lease, r.key.intents}, next.Owner, next.Claim, step)
		if err != nil || open == 0 {
			return 0, err
		}
		return open, r.clear(ctx, next, step)
	})
}

// clear forgets what is remembered of all shifts with an open intent. No intent comes or goes while it is at work.
func (r *Redis) clear(ctx context.Context, next shiftsync.Term, step int64) error {
	keys := []string{r.key.lease, r.key.shifts, r.key.intents}
	gone := shiftsync.FingerprintOf(nil)
	for cursor := "0"; ; {
		cmd, err := r.run(ctx, r.script.clear, keys, next.Owner, next.Claim, step, cursor, gone[:])
		if err != nil {
			return fmt.Errorf("forget shifts with an open intent: %w", err)
		}
		if cursor, err = cmd.Text(); err != nil {
			return fmt.Errorf("forget shifts with an open intent: %w", explain(r.client, err))
		}
		if cursor == "0" {
			return nil
		}
	}
}

// Open returns a page of the open intents, some hundreds as a rule. An intent that cannot be read ends it with an
// error that names its shift, since passing over it could lose a change.
func (r *Redis) Open(ctx context.Context, cursor uint64) (intents []shiftsync.Intent, next uint64, err error) {
	for {
		page, next, err := r.scan(ctx, r.key.intents, cursor)
		if err != nil {
			return nil, 0, fmt.Errorf("hscan intents: %w", err)
		}
		if len(page) > 0 {
			intents, err := readIntents(page)
			return intents, next, err
		}
		if next == 0 {
			return nil, 0, nil
		}
		cursor = next
	}
}

// scan returns a page of a hash: names and values by turns.
func (r *Redis) scan(ctx context.Context, key string, cursor uint64) (page []string, next uint64, err error) {
	return r.scanSome(ctx, key, cursor, 500)
}

func (r *Redis) scanSome(ctx context.Context, key string, cursor uint64, count int64) (page []string, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	page, next, err = r.client.HScan(ctx, key, cursor, "", count).Result()
	return page, next, explain(r.client, err)
}

func readIntents(page []string) ([]shiftsync.Intent, error) {
	intents := make([]shiftsync.Intent, len(page)/2)
	for i := range intents {
		id, err := strconv.ParseInt(page[2*i], 10, 64)
		if err != nil {
			return nil, errors.New("hscan intents: an intent that is not of a shift")
		}
		intents[i].ID = id
		if err := readIntent(page[2*i+1], &intents[i]); err != nil {
			return nil, fmt.Errorf("intent of shift %d: %w", id, err)
		}
	}
	return intents, nil
}

// Intend writes intents.
func (r *Redis) Intend(ctx context.Context, term shiftsync.Term, intents []shiftsync.Intent) (open int, err error) {
	values := r.pack()
	defer r.unpack(values)
	for i := range intents {
		values.add(appendIntent(values.buf, &intents[i]))
	}
	args := append(values.args, term.Owner, term.Claim, nil)
	for i, value := range values.all() {
		args = append(args, &intents[i].ID, value)
	}
	values.args = args
	keys := []string{r.key.lease, r.key.intents, r.key.wanted}
	return r.numbered(ctx, func(step int64) (int, error) {
		args[2] = step
		return r.count(ctx, r.script.intend, keys, args...)
	})
}

// Remember ends intents. A note of what was set aside outlives the acknowledgement of another version: it is about bytes
// that may come again, and Sweep drops it in the end.
func (r *Redis) Remember(ctx context.Context, term shiftsync.Term, settled []shiftsync.Settled) (open int, err error) {
	runs, ends := markRuns(settled), map[int]int64{}
	for i := range settled {
		if s := &settled[i]; s.Aside == "" {
			if end, ok := ends[s.Partition]; !ok || s.Offset > end {
				ends[s.Partition] = s.Offset
			}
		}
	}
	values := r.pack()
	defer r.unpack(values)
	for i := range settled {
		if s := &settled[i]; s.Aside == "" {
			values.add(appendShift(values.buf, s))
		} else {
			values.add(appendAside(values.buf, s))
		}
	}
	args := append(values.args, term.Owner, term.Claim, len(ends), len(runs))
	for _, partition := range slices.Sorted(maps.Keys(ends)) {
		args = append(args, partition, ends[partition])
	}
	for i, value := range values.all() {
		s := &settled[i]
		if s.Aside != "" {
			continue
		}
		if len(runs) > 0 && runs[0].first == i {
			args = append(args, appendHead(nil, s.Mark), runs[0].length)
			runs = runs[1:]
		}
		args = append(args, &s.ID, value)
	}
	for i, value := range values.all() {
		if s := &settled[i]; s.Aside != "" {
			args = append(args, &s.ID, asideField(s.ID, s.Raw), asideHead(s.Mark), value, letterField(s.ID, s.Raw), appendLetter(nil, s.Letter))
		}
	}
	values.args = args
	keys := []string{r.key.lease, r.key.shifts, r.key.intents, r.key.aside, r.key.ends, r.key.wanted, r.key.doubted, r.key.letters}
	return r.count(ctx, r.script.remember, keys, args...)
}

// markRun is a run of acknowledged shifts whose intents have the same mark; what was set aside in between does not count.
type markRun struct{ first, length int }

func markRuns(settled []shiftsync.Settled) (runs []markRun) {
	var mark uint64
	for i := range settled {
		s := &settled[i]
		if s.Aside != "" {
			continue
		}
		if len(runs) == 0 || s.Mark != mark {
			runs = append(runs, markRun{first: i})
			mark = s.Mark
		}
		runs[len(runs)-1].length++
	}
	return runs
}

func asideField(id int64, raw uint64) string {
	if id == 0 {
		return nameless(raw)
	}
	return strconv.FormatInt(id, 10)
}

func asideHead(mark uint64) []byte {
	if mark == 0 {
		return nil
	}
	return appendHead(nil, mark)
}
