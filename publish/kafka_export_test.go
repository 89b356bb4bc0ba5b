package publish

import (
	"context"
	"time"
)

// NextSequence is open to tests because two thousand million records are too many to get to its end.
var NextSequence = nextSequence

// RenewEvery is open to tests because a day is too long to wait for.
func RenewEvery(ctx context.Context, k *Kafka) time.Duration { return k.renewEvery(ctx) }
