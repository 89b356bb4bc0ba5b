package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Acquire makes owner the holder of the lease, or tells who holds it. A ttl is at least a millisecond.
func (r *Redis) Acquire(ctx context.Context, owner shiftsync.Owner, ttl time.Duration) (holder string, err error) {
	if owner.Token == "" {
		return "", errors.New("an owner needs a token")
	}
	if err := longEnough(ttl); err != nil {
		return "", err
	}
	name := owner.Name
	if name == "" {
		name = "a worker without a name" // an empty answer would mean that there is no other holder
	}
	cmd, err := r.run(ctx, r.script.acquire, []string{r.key.lease}, owner.Token, name, ttl.Milliseconds())
	if err != nil {
		return "", err
	}
	holder, err = cmd.Text()
	return holder, explain(r.client, err)
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
