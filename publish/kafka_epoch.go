package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// session is what the broker knows a producer by.
type session struct {
	producer int64
	epoch    int16
	fenced   bool          // taken with the transactional id
	at       time.Time     // when
	renew    time.Duration // age at which it has to be renewed, if fenced
}

// transactionTimeout has to be given with a transactional id and means nothing here: no transaction is ever begun.
const transactionTimeout = time.Minute

var errNoEpoch = errors.New("no epoch: begin with a takeover first")

// Begin implements shiftsync.Publisher. An answer of the broker that got lost does no harm: the same question is
// asked again, and after an error Begin may be called again.
//
// Without the fence a batch in doubt is first repeated until it is answered, for a new producer id would not keep it
// from landing late. A takeover repeats it only where nothing was written to the partition since: another worker
// may have had its turn, and what this one left unanswered would then be the older.
func (k *Kafka) Begin(ctx context.Context, takeover bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, k.options.Limit)
	defer cancel()
	if err := k.begin(ctx, takeover); err != nil {
		return fmt.Errorf("kafka: begin: %w", err)
	}
	return nil
}

func (k *Kafka) begin(ctx context.Context, takeover bool) error {
	if k.session == nil && !takeover {
		return errNoEpoch
	}
	topic, err := ask(ctx, k.lookLimit(), "topic "+k.topic, k.look)
	if err != nil {
		return err
	}
	if takeover {
		k.dropOvertaken(topic.Ends)
	}
	next, err := k.fencedSession(ctx, takeover)
	if err != nil {
		return err
	}
	if next != nil {
		k.adopt(next) // also if what follows fails, for the broker has done with the last one
	}
	if err := k.settle(ctx, next); err != nil {
		return err
	}
	if next == nil {
		if next, err = k.plainSession(ctx); err != nil {
			return err
		}
		k.adopt(next)
	}
	k.ousted = false
	clear(k.lanes)
	for p, end := range topic.Ends {
		k.lanes[p] = &lane{partition: p, end: end}
	}
	return nil
}

// Renew implements shiftsync.Publisher. Plain batches do not tell the broker that the transactional id is in use, so
// it would forget it, and with it the fence.
func (k *Kafka) Renew(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.session
	if s == nil || !s.fenced || time.Since(s.at) < s.renew {
		return nil
	}
	next, err := k.initProducer(ctx, k.options.TransactionalID, s.producer, s.epoch)
	if errors.Is(err, kafka.TransactionalIDAuthorizationFailed) {
		k.noticeUnfenced()
		s.fenced = false // its number and epoch stay good for plain batches
		return nil
	}
	if err != nil {
		return fmt.Errorf("kafka: renew: %w", err)
	}
	next.fenced, next.renew = true, s.renew
	k.adopt(next)
	return nil
}

// adopt goes on with another session. What was given up stays so.
func (k *Kafka) adopt(s *session) {
	k.session = s
	for _, l := range k.lanes {
		l.sequence = 0
	}
}

// fencedSession takes an epoch under the transactional id. It returns nil if there is none, or no right to it.
func (k *Kafka) fencedSession(ctx context.Context, takeover bool) (*session, error) {
	id := k.options.TransactionalID
	if id == "" {
		return nil, nil
	}
	producer, epoch := int64(-1), int16(-1) // whoever has it
	if !takeover {
		if !k.session.fenced {
			return nil, nil // asking now would displace whoever has it
		}
		producer, epoch = k.session.producer, k.session.epoch
	}
	s, err := k.initProducer(ctx, id, producer, epoch)
	if errors.Is(err, kafka.TransactionalIDAuthorizationFailed) {
		k.noticeUnfenced()
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.fenced, s.renew = true, k.renewEvery(ctx)
	return s, nil
}

func (k *Kafka) plainSession(ctx context.Context) (*session, error) {
	s, err := k.initProducer(ctx, "", -1, -1)
	if errors.Is(err, kafka.ClusterAuthorizationFailed) {
		return nil, fmt.Errorf("%w: the right Write on topic %s is needed, before Kafka 2.8 also IdempotentWrite on the cluster", err, k.topic)
	}
	return s, err
}

func (k *Kafka) initProducer(ctx context.Context, id string, producer int64, epoch int16) (*session, error) {
	what := "producer id"
	if id != "" {
		what = fmt.Sprintf("epoch of transactional id %q", id)
	}
	s, err := ask(ctx, k.options.Limit, what, func(ctx context.Context) (*session, error) {
		at := time.Now()
		res, err := k.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{
			TransactionalID:      id,
			TransactionTimeoutMs: int(transactionTimeout.Milliseconds()),
			ProducerID:           int(producer),
			ProducerEpoch:        int(epoch),
		})
		if err == nil {
			err = res.Error
		}
		switch {
		case err == nil:
			k.counters.epochs.Add(1)
			return &session{producer: int64(res.Producer.ProducerID), epoch: int16(res.Producer.ProducerEpoch), at: at}, nil
		case errors.Is(err, kafka.InvalidProducerEpoch), errors.Is(err, kafka.ProducerFenced), errors.Is(err, kafka.InvalidProducerIDMapping):
			return nil, backoff.Permanent(fmt.Errorf("%w: %s", shiftsync.ErrFenced, fencedAdvice))
		default:
			return nil, brief(err)
		}
	})
	k.ousted = k.ousted || errors.Is(err, shiftsync.ErrFenced)
	return s, err
}

const fencedAdvice = "another worker has taken it; workers of one topic must share one Redis (REDIS_HOST), or each have a SYNC_NAME of its own"

// fencedOut is ErrFenced, and says where to look for whoever is newer.
func (k *Kafka) fencedOut() error {
	if k.options.TransactionalID == "" {
		return shiftsync.ErrFenced
	}
	return fmt.Errorf("transactional id %q: %w: %s", k.options.TransactionalID, shiftsync.ErrFenced, fencedAdvice)
}

// renewEvery is a third of the time after which the broker forgets a transactional id, and at most a day, after which
// it forgets the epochs of a quiet partition.
func (k *Kafka) renewEvery(ctx context.Context) time.Duration {
	if k.options.RenewEvery > 0 {
		return k.options.RenewEvery
	}
	const every = 24 * time.Hour
	memory, err := k.FenceMemory(ctx)
	switch {
	case err == nil:
		return min(every, memory/3)
	case !errors.Is(err, errUntold) && k.session != nil && k.session.renew > 0:
		return k.session.renew // as it was told before
	}
	return every
}

func (k *Kafka) noticeUnfenced() {
	if k.noticed {
		return
	}
	k.noticed = true
	k.options.OnNotice(fmt.Sprintf("NOT FENCED: no right Write on transactional id %q, so a worker that was paused can write late: grant it, then restart",
		k.options.TransactionalID))
}

// dropOvertaken gives up batches in doubt of partitions that have grown since. Either the batch itself landed, or somebody
// else has written, and it would land behind what is newer. The two look alike, and both are an end of the doubt.
func (k *Kafka) dropOvertaken(ends map[int]int64) {
	for p, l := range k.lanes {
		if l.doubt != nil && ends[p] != l.end {
			l.doubt = nil
		}
	}
}

// settle repeats the batches in doubt until they are answered, save those that the epoch of next keeps out.
func (k *Kafka) settle(ctx context.Context, next *session) error {
	var found []*lane
	for _, l := range k.lanes {
		if l.doubt != nil && (next == nil || next.producer != l.doubt.producer) {
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b *lane) int { return a.partition - b.partition })
	errs := make(laneErrors, len(found))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, l := range found {
		g.Go(func() error {
			switch a := k.send(ctx, always{}, &call{}, l.doubt); {
			case a.fate == shiftsync.Acknowledged:
				l.doubt, l.end = nil, a.base+int64(l.doubt.records)
			case errors.Is(a.err, shiftsync.ErrFenced):
				l.doubt = nil // refused now, so it cannot land later
			default:
				errs[i] = fmt.Errorf("%w: sent before without an answer, nothing else can go there until it has one", a.err)
			}
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	return errs.join()
}

// always is a hold without an end.
type always struct{}

func (always) Err() error { return nil }
