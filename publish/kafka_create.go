package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

var (
	// ErrMayNotCreate says that the right Create is missing.
	ErrMayNotCreate = errors.New("no right to create it")
	// ErrTooFewBrokers says that there would be more replicas than brokers.
	ErrTooFewBrokers = errors.New("the cluster has fewer brokers than there are to be replicas")
)

// CreateTopic makes the topic, compacted, and reports whether it did: a topic that is there stays as it is. With 0
// partitions or replicas the cluster's default decides, from Kafka 2.4 on. The error may be ErrMayNotCreate or
// ErrTooFewBrokers.
func (k *Kafka) CreateTopic(ctx context.Context, partitions, replicas int) (created bool, err error) {
	return k.create(ctx, partitions, replicas, kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"})
}

// awaitTopic returns when the brokers know a topic that was made, or at the end of some patience: to make one is answered
// before that, and whoever looks at once would not find it.
func (k *Kafka) awaitTopic(ctx context.Context) {
	_, _ = ask(ctx, k.lookLimit(), "created topic", func(ctx context.Context) (struct{}, error) {
		d := k.Describe(ctx)
		if d.Topic != nil || len(d.Partitions) == 0 || slices.ContainsFunc(d.Partitions, func(p PartitionState) bool { return !p.Leader }) {
			return struct{}{}, errors.New("not known yet")
		}
		return struct{}{}, nil
	})
}

// CreateTopic makes the topic with one partition, for letters that are kept for so long, as Kafka.CreateTopic does.
func (d *DeadLetters) CreateTopic(ctx context.Context, replicas int, keep time.Duration) (created bool, err error) {
	return d.kafka.create(ctx, 1, replicas, kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "delete"},
		kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(keep.Milliseconds(), 10)})
}

func (k *Kafka) create(ctx context.Context, partitions, replicas int, settings ...kafka.ConfigEntry) (created bool, err error) {
	orDefault := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	res, err := k.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic:             k.topic,
		NumPartitions:     orDefault(partitions),
		ReplicationFactor: orDefault(replicas),
		ConfigEntries:     settings,
	}}})
	if err == nil {
		err = res.Errors[k.topic]
	}
	switch {
	case err == nil:
		k.awaitTopic(ctx)
		return true, nil
	case errors.Is(err, kafka.TopicAlreadyExists):
		return false, nil
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed):
		return false, fmt.Errorf("kafka: create topic %s: %w", k.topic, ErrMayNotCreate)
	case errors.Is(err, kafka.InvalidReplicationFactor):
		return false, fmt.Errorf("kafka: create topic %s: %w", k.topic, ErrTooFewBrokers)
	default:
		return false, fmt.Errorf("kafka: create topic %s: %w", k.topic, brief(err))
	}
}
