package publish

import (
	"context"
	"net"
	"time"
)

// NextSequence is open to tests because two thousand million records are too many to get to its end.
var NextSequence = nextSequence

// RenewEvery is open to tests because a day is too long to wait for.
func RenewEvery(ctx context.Context, k *Kafka) time.Duration { return k.renewEvery(ctx) }

// TokenOf is open to tests because only Amazon can say whether a signature is right, and it can be known beforehand.
func TokenOf(ctx context.Context, l *Login, host string) (string, error) {
	mechanism, err := l.start(ctx, host)
	if err != nil {
		return "", err
	}
	return mechanism.(bearer).token, nil
}

// SessionOf logs in over a connection, and is open to tests because what is counted of a session is too little to be seen
// from outside.
func SessionOf(ctx context.Context, l *Login, conn net.Conn) (time.Duration, error) {
	return l.in(ctx, ctx, conn, "slotsync", "kafka:9092")
}
