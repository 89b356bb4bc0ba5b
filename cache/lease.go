package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Acquire makes owner the holder of the lease, or tells who holds it. A ttl is at least a millisecond. What it tells of
// time is to the second.
func (r *Redis) Acquire(ctx context.Context, owner shiftsync.Owner, ttl time.Duration) (found shiftsync.Standing, err error) {
	if owner.Token == "" {
		return found, errors.New("an owner needs a token")
	}
	if err := longEnough(ttl); err != nil {
		return found, err
	}
	name := owner.Name
	if name == "" {
		name = "a worker without a name" // an empty answer would mean that there is no other holder
	}
	keys := []string{r.key.lease, r.key.intents, r.key.inStep}
	cmd, err := r.run(ctx, r.script.acquire, keys, owner.Token, name, ttl.Milliseconds())
	if err != nil {
		return found, err
	}
	told, err := cmd.Slice()
	if err != nil {
		return found, explain(r.client, err)
	}
	return standing(told, time.Now())
}

// standing reads what the script tells.
func standing(told []any, now time.Time) (found shiftsync.Standing, err error) {
	var figures [3]int64
	good := len(told) == 1+len(figures)
	if good {
		found.Holder, good = told[0].(string)
	}
	for i := range figures {
		if good {
			figures[i], good = told[1+i].(int64)
		}
	}
	if !good {
		return shiftsync.Standing{}, errors.New("what the server answers is not how things stand")
	}
	found.Open, found.Never = int(figures[0]), figures[2] == 1
	if age := figures[1]; age >= 0 {
		found.InStep = now.Add(-time.Duration(age) * time.Second)
	}
	return found, nil
}

// Renew gives owner another ttl.
func (r *Redis) Renew(ctx context.Context, owner shiftsync.Owner, ttl time.Duration) error {
	if err := longEnough(ttl); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	if _, err := r.run(ctx, r.script.renew, []string{r.key.lease}, owner.Token, ttl.Milliseconds()); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

// Release ends the lease. If owner does not hold it, it has ended already, and that is no error.
func (r *Redis) Release(ctx context.Context, owner shiftsync.Owner) error {
	_, err := r.run(ctx, r.script.release, []string{r.key.lease}, owner.Token)
	if errors.Is(err, shiftsync.ErrLeaseLost) {
		return nil
	}
	return err
}

func longEnough(ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("a lease of %s is too short", ttl)
	}
	return nil
}
