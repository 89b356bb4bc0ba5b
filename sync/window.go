package shiftsync

import (
	"errors"
	"fmt"
	"time"
)

// Window is the span of time whose shifts are kept in step. A shift belongs to it if it overlaps it.
type Window struct {
	Start, End time.Time
}

// ErrEmptyWindow says that a window ends before it begins, or where it begins.
var ErrEmptyWindow = errors.New("empty window")

// WindowAround returns the window from prior days before now to ahead days after it, in UTC and whole seconds.
// A day is 24 hours.
func WindowAround(now time.Time, prior, ahead int) (Window, error) {
	now = now.UTC().Truncate(time.Second)
	w := Window{now.Add(-time.Duration(prior) * day), now.Add(time.Duration(ahead) * day)}
	if !w.Start.Before(w.End) {
		return Window{}, fmt.Errorf("%w: %s", ErrEmptyWindow, w)
	}
	return w, nil
}

const day = 24 * time.Hour

// Split cuts the window into consecutive ones of at most the given length, which must be positive.
func (w Window) Split(length time.Duration) []Window {
	var parts []Window
	for start := w.Start; start.Before(w.End); start = start.Add(length) {
		end := start.Add(length)
		if end.After(w.End) {
			end = w.End
		}
		parts = append(parts, Window{start, end})
	}
	return parts
}

// String returns the window in RFC 3339.
func (w Window) String() string {
	return w.Start.Format(time.RFC3339) + " to " + w.End.Format(time.RFC3339)
}
