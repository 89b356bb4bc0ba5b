package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

// work runs a worker: one pass, or passes until ctx ends.
func work(ctx context.Context, cfg *config, log *slog.Logger, watch *observer, spans *traces) (err error) {
	out, err := connect(cfg, log, watch)
	if err != nil {
		return err
	}
	defer closeInto(&err, out, "close connections")
	defer watch.desk.close()
	cache.OnAnswer(out.redis, func(err error) { watch.health.needs.note(causeRedis, err) })
	cluster, err := findCluster(ctx, cfg, out.kafka, watch)
	if err != nil || cluster == "" {
		return err
	}
	warnOfStranded(ctx, cfg, out.redis, cluster, log)
	w := out.worker(cfg, cluster)
	w.Observer = watch
	watch.desk.open(newStore(cfg, out.redis, cluster))
	watchPorts(w, out.registry, watch.health.needs, watch.stats, spans)
	defer watch.stats.sampling(out.sampler(watch.health.needs, watch.stats))()
	if cfg.Once {
		_, err := w.RunOnce(ctx)
		return told(err) // as the end of the pass
	}
	return runUntilMoved(ctx, w, out.kafka, log)
}

// outside is all that a worker works with.
type outside struct {
	source   *source
	registry *publish.Registry
	encoder  *publish.Avro
	kafka    *publish.Kafka
	letters  *publish.DeadLetters // nil: off
	redis    cache.Client
}

// connect makes the adapters from the settings. It asks nobody yet.
func connect(cfg *config, log *slog.Logger, watch *observer) (out *outside, err error) {
	out = &outside{}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	if out.source, err = newSource(cfg, log, watch); err != nil {
		return out, err
	}
	if out.registry, err = newRegistry(cfg); err != nil {
		return out, err
	}
	if out.encoder, err = newEncoder(cfg, out.registry); err != nil {
		return out, err
	}
	if out.kafka, err = newKafka(cfg, log); err != nil {
		return out, err
	}
	if out.letters, err = newDeadLetters(cfg, out.kafka); err != nil {
		return out, err
	}
	if out.redis, err = newRedis(cfg, log); err != nil {
		return out, err
	}
	return out, nil
}

// Close ends the connections to all.
func (o *outside) Close() error {
	var errs []error
	if o.redis != nil {
		errs = append(errs, o.redis.Close())
	}
	if o.letters != nil {
		errs = append(errs, o.letters.Close())
	}
	if o.kafka != nil {
		errs = append(errs, o.kafka.Close())
	}
	if o.source != nil {
		errs = append(errs, o.source.Close())
	}
	return errors.Join(errs...)
}

// sampler returns what reads the figures that the adapters count themselves.
func (o *outside) sampler(needs *dependencies, stats *metrics) func() {
	var produced publish.Figures
	var timeouts, misses uint32
	return func() {
		now := o.kafka.Figures()
		stats.produced(now.Since(produced))
		produced = now
		if !needs.answers(causeRedis) {
			return // the client of a cluster asks its nodes who they are, before it can tell
		}
		pool := o.redis.PoolStats()
		stats.pool(int(pool.TotalConns-pool.IdleConns), int(pool.IdleConns), grown(timeouts, pool.Timeouts), grown(misses, pool.Misses))
		timeouts, misses = pool.Timeouts, pool.Misses
	}
}

// grown is how much a figure grew. A cluster's falls when a node leaves it, and counts anew.
func grown(before, now uint32) int {
	if now < before {
		return int(now)
	}
	return int(now - before)
}

// worker joins the adapters with the core, for the destination in a Kafka cluster. Nobody observes it yet.
func (o *outside) worker(cfg *config, cluster string) *shiftsync.Worker {
	w := &shiftsync.Worker{
		Source:    o.source,
		Encoder:   o.encoder,
		Publisher: o.kafka,
		Store:     newStore(cfg, o.redis, cluster),

		Name:          workerName(),
		DaysPrior:     cfg.Sync.DaysPrior,
		DaysAhead:     cfg.Sync.DaysAhead,
		Sleep:         cfg.Sync.Wait,
		Keep:          cfg.Redis.Expire,
		PendingLimit:  cfg.Limits.Pending,
		RepublishRate: float64(cfg.Limits.Republish),
		BadShare:      cfg.Limits.BadShare,
		Deletes:       deletes(cfg),
		GoneShare:     cfg.Limits.GoneShare,
		StopTimeout:   cfg.Limits.StopTimeout,
		Partition:     partitioning(cfg),
		AcceptLayout:  cfg.AcceptLayout,
	}
	if o.letters != nil { // a nil one would not be a nil interface
		w.DeadLetters = o.letters
	}
	return w
}

func newStore(cfg *config, redis cache.Client, cluster string) *cache.Redis {
	return cache.New(redis, cache.Destination(cluster, cfg.Kafka.Topic, cfg.Sync.Name), cache.Keep(cfg.Redis.Expire))
}

// source is the API, and the session that it is read in.
type source struct {
	*wiw.Client
	session *session
}

// Close drops the connections to both.
func (s *source) Close() error { return errors.Join(s.Client.Close(), s.session.Close()) }

func newSource(cfg *config, log *slog.Logger, watch *observer) (*source, error) {
	session, err := newSession(cfg, log, watch.stats, watch.health.progress)
	if err != nil {
		return nil, fmt.Errorf("when i work: login: %w", err)
	}
	client, err := wiw.New(wiw.Config{
		URL:       cfg.WIW.URL.Reveal(),
		Token:     session.Token,
		TokenFrom: cfg.tokenName(),
		UserID:    cfg.WIW.UserID,
		Include:   cfg.WIW.Include,
		SliceDays: cfg.WIW.SliceDays,
		Rate:      cfg.WIW.Rate,
		MaxBytes:  int64(cfg.WIW.MaxBytes),
		Timeout:   cfg.WIW.Timeout,

		OnWait:     watch.health.needs.waits,
		OnResponse: watch.Asked,
		OnRetry:    watch.Retries,
		OnNotice: func(n wiw.Notice) {
			log.Warn("when i work", "warning", n.Text, "field", n.Field, "form", n.Form)
		},
		OnUnknownDate: watch.stats.unknownDate,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("when i work: %w", err), session.Close())
	}
	return &source{client, session}, nil
}

func newEncoder(cfg *config, registry *publish.Registry) (*publish.Avro, error) {
	encoder, err := publish.NewAvro(registry, cfg.Kafka.Topic, publish.AvroOptions{
		Namespace: cfg.Kafka.SchemaName,
		Register:  cfg.Registry.Register,
		DryRun:    cfg.DryRun,
	})
	if err != nil {
		return nil, fmt.Errorf("avro: %w", err)
	}
	return encoder, nil
}

func newKafka(cfg *config, log *slog.Logger) (*publish.Kafka, error) {
	o := publish.KafkaOptions{
		Compression:     cfg.Kafka.Compression,
		TransactionalID: cfg.transactionalID(),
		ClientID:        "slotsync",
		OnNotice:        func(text string) { log.Warn("kafka", "warning", text) },
	}
	if p := cfg.Kafka.Partition; p != nil {
		o.Partition = shiftsync.Some(int(*p))
	}
	var err error
	if o.Login, err = cfg.kafkaLogin(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	if cfg.Kafka.TLS {
		o.Dial = cfg.kafkaTLS().dial
	}
	kafka, err := publish.NewKafka(cfg.Kafka.Brokers, cfg.Kafka.Topic, o)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return kafka, nil
}

// newDeadLetters returns what writes to DLQ_TOPIC, or nil if that is off.
func newDeadLetters(cfg *config, kafka *publish.Kafka) (*publish.DeadLetters, error) {
	if cfg.Kafka.DeadLetters == "" {
		return nil, nil
	}
	return publish.NewDeadLetters(kafka, cfg.Kafka.DeadLetters)
}

// leastPause is between two attempts to find the cluster, however short the wait after a pass is: some troubles are met
// at once.
const leastPause = time.Second

// findCluster asks for the id of the Kafka cluster, which is part of the name under which everything is remembered.
// The loop asks until there is an answer; it returns "" if ctx ends before.
func findCluster(ctx context.Context, cfg *config, kafka *publish.Kafka, watch *observer) (string, error) {
	for {
		cluster, err := kafka.ClusterID(ctx)
		watch.health.needs.note(causeKafka, err)
		switch {
		case err == nil:
			return cluster, nil
		case cfg.Once:
			return "", fmt.Errorf("find the kafka cluster: %w", err)
		case ctx.Err() != nil:
			return "", nil
		}
		watch.Done(shiftsync.Report{}, fmt.Errorf("find the kafka cluster: %w", met(causeKafka, err)))
		select {
		case <-ctx.Done():
		case <-time.After(max(cfg.Sync.Wait, leastPause)):
		}
	}
}

// warnOfStranded names what was collected for another Kafka cluster under the same topic and never got there. That it
// cannot be found out is no reason not to work.
func warnOfStranded(ctx context.Context, cfg *config, redis cache.Client, cluster string, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stranded, err := cache.Stranded(ctx, redis, cluster, cfg.Kafka.Topic, cfg.Sync.Name)
	for destination, open := range stranded {
		log.Warn("changes meant for another kafka cluster were never sent; a worker there would send them", "destination", destination, "open_intents", open)
	}
	if err != nil {
		log.Debug("redis", "err", err)
	}
}

// runUntilMoved runs the worker until ctx ends, or until the brokers turn out to be those of another cluster: what is
// remembered then belongs to another destination, and the program has to begin anew.
func runUntilMoved(ctx context.Context, w *shiftsync.Worker, kafka *publish.Kafka, log *slog.Logger) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w.Observer = brokerObserver{w.Observer, kafka, end}
	err := w.Run(ctx)
	if moved := context.Cause(ctx); errors.Is(moved, publish.ErrOtherCluster) {
		return errors.Join(told(moved), err) // with the pass that met it
	}
	if errors.Is(err, shiftsync.ErrNotReleased) {
		log.Warn("stopped with a loose end", "err", err) // which is no fault of the stop
		return nil
	}
	return err
}

// brokerObserver ends the work when a pass has met another cluster, and leaves the brokers alone once the lease is lost.
type brokerObserver struct {
	shiftsync.Observer
	kafka *publish.Kafka
	end   context.CancelCauseFunc
}

func (b brokerObserver) Done(rep shiftsync.Report, err error) {
	b.Observer.Done(rep, err)
	if errors.Is(err, publish.ErrOtherCluster) {
		b.end(err)
	}
}

func (b brokerObserver) Lost() {
	b.Observer.Lost()
	b.kafka.Rest()
}

func deletes(cfg *config) shiftsync.Deletes {
	switch cfg.Sync.Deletes {
	case "update":
		return shiftsync.DeletesUpdate
	case "tombstone":
		return shiftsync.DeletesTombstone
	}
	return shiftsync.DeletesOff
}

func partitioning(cfg *config) string {
	if p := cfg.Kafka.Partition; p != nil {
		return strconv.Itoa(int(*p))
	}
	return "murmur2"
}

// workerName tells people which worker holds the lease.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s (process %d)", host, os.Getpid())
}
