package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// CreateTopic makes the topic, compacted, and reports whether it did: a topic that is there stays as it is. With 0
// partitions or replicas the cluster's default decides, from Kafka 2.4 on.
func (k *Kafka) CreateTopic(ctx context.Context, partitions, replicas int) (created bool, err error) {
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
		ConfigEntries:     []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}},
	}}})
	if err == nil {
		err = res.Errors[k.topic]
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, kafka.TopicAlreadyExists):
		return false, nil
	default:
		return false, fmt.Errorf("kafka: create topic %s: %w", k.topic, brief(err))
	}
}
