//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// churn is the change that goes on all the time: most shifts are edited, one in five is reverted, and now and then one is
// added, moves out of the window or into it, leaves the list or comes back, is deleted or restored, goes bad or is mended.
type churn struct {
	truth *truth
	stack *stack
	rate  int // changes a second
	r     *rand.Rand

	mu sync.Mutex // held while there is to be none
}

// run changes shifts until ctx ends.
func (c *churn) run(ctx context.Context) error {
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, done := time.Now(), 0
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		c.mu.Lock()
		if due := int(time.Since(began).Seconds() * float64(c.rate)); due-done > c.rate {
			done = due // after a rest
		} else {
			c.change(due - done)
			done = due
		}
		if n%5 == 0 {
			c.migrate(ctx, n/5, max(1, c.rate/200))
		}
		c.mu.Unlock()
	}
}

func (c *churn) change(n int) {
	some := c.truth.pick(c.r, n)
	c.truth.revert(some[:n/5])
	c.truth.edit(some[n/5:])
}

// migrate lets shifts turn into something else: of the kinds of change, each time the next one.
func (c *churn) migrate(ctx context.Context, turn, n int) {
	if turn%2 == 0 {
		c.truth.birth(n)
		c.turn(ctx, c.truth.pick(c.r, n), away)
		return
	}
	kinds := []struct {
		from, to kind
	}{
		{listed, gone}, {listed, unlisted}, {away, listed}, {listed, large}, {listed, gone}, {unlisted, listed},
		{large, listed}, {listed, unreadable}, {gone, listed}, {unlisted, gone}, {unreadable, listed},
	}
	k := kinds[turn/2%len(kinds)]
	some := c.truth.pickOf(c.r, n, k.from)
	if k.from == listed {
		some = c.truth.pick(c.r, n) // hot ones too
	}
	c.turn(ctx, some, k.to)
}

// turn makes shifts something else. While Redis does not tell what was seen of them, they need not have been.
func (c *churn) turn(ctx context.Context, some []*shift, into kind) {
	intended, _ := c.stack.intended(ctx, idsOf(some))
	c.truth.turn(some, into, intended)
}
