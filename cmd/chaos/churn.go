//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// churn is the change that goes on all the time: most shifts are edited, one in five is reverted, and now and then one is
// added, and one moved out of the window.
type churn struct {
	truth *truth
	stack *stack
	rate  int // changes a second
	r     *rand.Rand

	mu sync.Mutex // held while there is to be none
}

// run changes shifts until ctx ends.
func (c *churn) run(ctx context.Context) {
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, done := time.Now(), 0
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		if due := int(time.Since(began).Seconds() * float64(c.rate)); due-done > c.rate {
			done = due // after a rest
		} else {
			c.change(due - done)
			done = due
		}
		if n%10 == 0 {
			c.migrate(ctx, max(1, c.rate/200))
		}
		c.mu.Unlock()
	}
}

func (c *churn) change(n int) {
	some := c.truth.pick(c.r, n)
	c.truth.revert(some[:n/5])
	c.truth.edit(some[n/5:])
}

// migrate lets shifts enter and leave the window. While Redis does not tell what was seen of them, they need not have been.
func (c *churn) migrate(ctx context.Context, n int) {
	c.truth.birth(n)
	leaving := c.truth.pick(c.r, n)
	intended, _ := c.stack.intended(ctx, idsOf(leaving))
	c.truth.move(leaving, intended)
}
