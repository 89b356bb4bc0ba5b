package wiw

import (
	"context"
	"fmt"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// NoticeNoEcho is the text of the notice that the API does not say which window it answered.
const NoticeNoEcho = "the API does not say which window it answered"

// Probe reads as Read does, but asks once for each part of the window: a fault is what it was called to find. It takes
// no notice of a time for which the API wanted to be left alone, and begins none.
func (c *Client) Probe(ctx context.Context, w shiftsync.Window, add func(id int64, hash uint64, raw []byte) error) error {
	w = wholeSeconds(w)
	if !w.Start.Before(w.End) {
		return fmt.Errorf("read shifts: %w: %s", shiftsync.ErrEmptyWindow, w)
	}
	token, err := c.tokenFor(ctx, "")
	if err != nil {
		return err
	}
	for _, part := range w.Split(c.slice) {
		q := question{window: part}
		switch f := c.attempt(ctx, token, q, add); {
		case f == nil:
		case f.verdict == stopped:
			return f.err
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", c.name(q), context.Cause(ctx))
		default:
			return fmt.Errorf("%s: %w", c.name(q), f.err)
		}
	}
	return nil
}
