package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
)

// lookLimit bounds what is asked before there is anything to send. A pass has to go on and collect while the brokers are
// away; to wait for one that restarts is worth it only with a batch in hand.
const lookLimit = 5 * time.Second

// loginLimit takes its place where there is a login: a broker that is slow to refuse one has to be heard, else nobody
// knows what to look at.
const loginLimit = 8 * time.Second

// ask repeats a question that may be repeated, until it is answered, cannot be, or the limit is reached. Sending
// records is another matter and not done with it.
func ask[T any](ctx context.Context, limit time.Duration, what string, do func(context.Context) (T, error)) (T, error) {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	tries := 0
	answer, err := backoff.Retry(within, func() (T, error) {
		a, err := do(within)
		tries++
		if last == nil || within.Err() == nil { // what our own limit cut short says less than what came before it
			last = err
		}
		if err != nil && !mayPass(err) {
			err = backoff.Permanent(err)
		}
		return a, err
	}, backoff.WithBackOff(newPauses()), backoff.WithMaxElapsedTime(limit))
	switch {
	case err == nil:
		return answer, nil
	case !mayPass(last):
		return answer, fmt.Errorf("%s: %w", what, last)
	case ctx.Err() != nil:
		return answer, fmt.Errorf("%s: %w: after %d attempts: %w", what, ctx.Err(), tries, last)
	default:
		// The limit, not the attempts or the time, which differ: the same trouble has the same text, and is told once.
		return answer, fmt.Errorf("%s: gave up within %s: %w", what, limit, last)
	}
}

// mayPass says whether the same question may be answered a little later.
func mayPass(err error) bool {
	var permanent *backoff.PermanentError
	var code kafka.Error
	switch {
	case mustBeMended(err), errors.As(err, &permanent), errors.Is(err, ErrNoTopic), errors.Is(err, ErrOtherCluster), errors.Is(err, errUntold):
		return false
	case errors.As(err, &code):
		// The four that kafka-go does not call temporary are: no leader yet, a broker that is not in the metadata
		// any more, a transaction that the coordinator is still ending, and what it makes of a broken connection to
		// one of several brokers that were asked for log ends.
		return code.Temporary() || code == kafka.LeaderNotAvailable || code == kafka.BrokerNotAvailable ||
			code == kafka.ConcurrentTransactions || code == kafka.Unknown
	default:
		return true // the network
	}
}

// newPauses returns the waits between attempts: long enough for a broker to breathe, short enough to find a new
// leader within a second or two.
func newPauses() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 50 * time.Millisecond
	b.Multiplier = 2
	b.MaxInterval = time.Second
	return b
}

// pause waits, and reports whether the context outlasted the wait.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// brief drops what the library puts around an error, and of a broker's error all but its code: the broker's own words
// may quote a record.
func brief(err error) error {
	var login *loginError
	if errors.As(err, &login) {
		return login
	}
	var code kafka.Error
	if errors.As(err, &code) {
		return code
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "kafka.(*Client)") {
		return inner
	}
	return err
}
