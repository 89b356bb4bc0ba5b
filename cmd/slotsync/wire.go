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

// work connects the adapters with the core and runs it: one pass, or passes until ctx ends.
func work(ctx context.Context, cfg *config, log *slog.Logger, stats *metrics, watch *observer) (err error) {
	source, err := newSource(cfg, log, stats)
	if err != nil {
		return err
	}
	defer closeInto(&err, source, "close the API's connections")

	encoder, err := newEncoder(cfg)
	if err != nil {
		return err
	}
	kafka, err := newKafka(cfg, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, kafka, "close Kafka's connections")

	redis, err := cache.Dial(cache.Config{URL: cfg.Redis.URL.Reveal(), Warn: func(text string) { log.Warn("redis", "warning", text) }})
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	defer closeInto(&err, redis, "close Redis' connections")

	cluster, err := findCluster(ctx, cfg, kafka, watch)
	if err != nil || cluster == "" {
		return err
	}
	warnOfStranded(ctx, cfg, redis, cluster, log)
	store := cache.New(redis, cache.Destination(cluster, cfg.Kafka.Topic, cfg.Sync.Name), cache.Keep(cfg.Redis.Expire))
	w := &shiftsync.Worker{
		Source:    source,
		Encoder:   encoder,
		Publisher: kafka,
		Store:     store,
		Observer:  watch,

		Name:          workerName(),
		DaysPrior:     cfg.Sync.DaysPrior,
		DaysAhead:     cfg.Sync.DaysAhead,
		Sleep:         cfg.Sync.Wait,
		Keep:          cfg.Redis.Expire,
		PendingLimit:  cfg.Limits.Pending,
		RepublishRate: float64(cfg.Limits.Republish),
		BadShare:      cfg.Limits.BadShare,
		StopTimeout:   cfg.Limits.StopTimeout,
		Partition:     partitioning(cfg),
		AcceptLayout:  cfg.AcceptLayout,
	}
	if cfg.Once {
		_, err := w.RunOnce(ctx)
		return err
	}
	return runUntilMoved(ctx, w)
}

func newSource(cfg *config, log *slog.Logger, stats *metrics) (*wiw.Client, error) {
	source, err := wiw.New(wiw.Config{
		URL:       cfg.WIW.URL.Reveal(),
		Token:     wiw.StaticToken(cfg.WIW.Token.Reveal()),
		UserID:    cfg.WIW.UserID,
		Include:   cfg.WIW.Include,
		SliceDays: cfg.WIW.SliceDays,
		Rate:      cfg.WIW.Rate,
		MaxBytes:  int64(cfg.WIW.MaxBytes),
		Timeout:   cfg.WIW.Timeout,
		OnResponse: func(r wiw.Response) {
			stats.request(r.Class, r.Latency)
			if r.Remaining >= 0 {
				stats.remaining(r.Remaining)
			}
		},
		OnNotice: func(n wiw.Notice) {
			log.Warn("when i work: "+n.Text, "field", n.Field, "form", n.Form)
		},
		OnUnknownDate: stats.unknownDate,
	})
	if err != nil {
		return nil, fmt.Errorf("when i work: %w", err)
	}
	return source, nil
}

func newEncoder(cfg *config) (*publish.Avro, error) {
	registry, err := publish.NewRegistry(cfg.Registry.URL.Reveal(), publish.RegistryOptions{
		Login: func() (publish.Credentials, error) {
			switch {
			case cfg.Registry.Username != "":
				return publish.BasicCredentials(cfg.Registry.Username, cfg.Registry.Password.Reveal()), nil
			case !cfg.Registry.Token.Empty():
				return publish.BearerCredentials(cfg.Registry.Token.Reveal()), nil
			}
			return publish.Credentials{}, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	encoder, err := publish.NewAvro(registry, cfg.Kafka.Topic, publish.AvroOptions{
		Namespace: cfg.Kafka.SchemaName,
		Register:  cfg.Registry.Register,
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
		OnNotice:        func(text string) { log.Warn("kafka: " + text) },
	}
	if p := cfg.Kafka.Partition; p != nil {
		o.Partition = shiftsync.Some(int(*p))
	}
	kafka, err := publish.NewKafka(cfg.Kafka.Brokers, cfg.Kafka.Topic, o)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return kafka, nil
}

// findCluster asks for the id of the Kafka cluster, which is part of the name under which everything is remembered.
// The loop asks until there is an answer; it returns "" if ctx ends before.
func findCluster(ctx context.Context, cfg *config, kafka *publish.Kafka, watch *observer) (string, error) {
	for {
		cluster, err := kafka.ClusterID(ctx)
		switch {
		case err == nil:
			return cluster, nil
		case cfg.Once:
			return "", fmt.Errorf("find the kafka cluster: %w", err)
		case ctx.Err() != nil:
			return "", nil
		}
		watch.Done(shiftsync.Report{}, fmt.Errorf("find the kafka cluster: %w", err))
		select {
		case <-ctx.Done():
		case <-time.After(cfg.Sync.Wait):
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
func runUntilMoved(ctx context.Context, w *shiftsync.Worker) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w.Observer = movedObserver{w.Observer, end}
	err := w.Run(ctx)
	if moved := context.Cause(ctx); errors.Is(moved, publish.ErrOtherCluster) {
		return errors.Join(moved, err)
	}
	return err
}

// movedObserver ends the work when a pass has met another cluster.
type movedObserver struct {
	shiftsync.Observer
	end context.CancelCauseFunc
}

func (m movedObserver) Done(rep shiftsync.Report, err error) {
	m.Observer.Done(rep, err)
	if errors.Is(err, publish.ErrOtherCluster) {
		m.end(err)
	}
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
