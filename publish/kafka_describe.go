package publish

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"golang.org/x/sync/errgroup"
)

// Nothing in this file takes an epoch, writes a record or changes a setting: a worker may be at work meanwhile.

// Right is what is known of a right.
type Right uint8

const (
	NotTold Right = iota
	Granted
	Missing
)

// Description is what a cluster tells of itself and of the topic.
type Description struct {
	Brokers []BrokerState // one for each bootstrap address, in their order

	// What follows is what the first broker said that answered, and zero if none did.
	ClusterID string
	Size      int // brokers in the cluster
	// Topic is nil, ErrNoTopic, or why the topic cannot be seen.
	Topic      error
	Partitions []PartitionState // by number; empty if Topic is not nil
	Write      Right            // to the topic
}

// Reached tells whether any broker answered.
func (d *Description) Reached() bool {
	return slices.ContainsFunc(d.Brokers, func(b BrokerState) bool { return b.Err == nil })
}

// BrokerState is what came of asking one bootstrap broker.
type BrokerState struct {
	Address   string
	Err       error // why there was no answer
	ClusterID string
	// InitProducerID is the highest version of that request which the broker takes; -1: none. A producer can renew its
	// own epoch from version 3 on, Kafka 2.5.
	InitProducerID int
}

// PartitionState is how one partition stands.
type PartitionState struct {
	ID       int
	Leader   bool // it has one
	Replicas int
	InSync   int
}

// bitNotTold stands where a broker does not say which rights there are.
const bitNotTold = math.MinInt32

// bitWrite is the right Write among the rights to a topic (KIP-430).
const bitWrite = 1 << 4

// Describe asks each bootstrap broker once, all at the same time and over a connection of its own, and returns what
// they say. It lasts no longer than one attempt.
func (k *Kafka) Describe(ctx context.Context) *Description {
	ctx, cancel := context.WithTimeout(ctx, k.options.Attempt)
	defer cancel()
	d := &Description{Brokers: make([]BrokerState, len(k.brokers))}
	answers := make([]*metadata.Response, len(k.brokers))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, address := range k.brokers {
		g.Go(func() error {
			d.Brokers[i], answers[i] = k.knock(ctx, address)
			return nil
		})
	}
	_ = g.Wait() // errors are in the states
	for i := range answers {
		if answers[i] != nil {
			d.ClusterID, d.Size = answers[i].ClusterID, len(answers[i].Brokers)
			k.describeTopic(answers[i], d)
			break
		}
	}
	return d
}

// knock asks one broker. The transport would do, but for two things: it goes to whichever broker answers, and it does
// not ask for rights.
func (k *Kafka) knock(ctx context.Context, address string) (BrokerState, *metadata.Response) {
	s := BrokerState{Address: address, InitProducerID: -1}
	c, err := k.connect(ctx, address)
	if err != nil {
		s.Err = brief(err)
		return s, nil
	}
	defer c.Close()
	s.InitProducerID = c.highest(protocol.InitProducerId)
	m, err := c.RoundTrip(&metadata.Request{TopicNames: []string{k.topic}, IncludeTopicAuthorizedOperations: true})
	if err != nil {
		s.Err = fmt.Errorf("metadata: %w", brief(err))
		return s, nil
	}
	answer := m.(*metadata.Response)
	s.ClusterID = answer.ClusterID
	return s, answer
}

func (k *Kafka) describeTopic(answer *metadata.Response, d *Description) {
	i := slices.IndexFunc(answer.Topics, func(t metadata.ResponseTopic) bool { return t.Name == k.topic })
	if i < 0 {
		d.Topic = ErrNoTopic
		return
	}
	topic := answer.Topics[i]
	switch code := kafka.Error(topic.ErrorCode); code {
	case 0:
	case kafka.UnknownTopicOrPartition:
		d.Topic = ErrNoTopic
		return
	default:
		d.Topic = code
		return
	}
	for _, p := range topic.Partitions {
		d.Partitions = append(d.Partitions, PartitionState{
			ID: int(p.PartitionIndex), Leader: p.LeaderID >= 0, Replicas: len(p.ReplicaNodes), InSync: len(p.IsrNodes),
		})
	}
	slices.SortFunc(d.Partitions, func(a, b PartitionState) int { return a.ID - b.ID })
	// A broker that is too old to be asked leaves zero, which no topic that can be seen has.
	switch rights := topic.TopicAuthorizedOperations; {
	case rights == bitNotTold, rights == 0:
	case rights&bitWrite != 0:
		d.Write = Granted
	default:
		d.Write = Missing
	}
}

// TopicSettings are settings of the topic that bear on what slotsync promises.
type TopicSettings struct {
	Cleanup        []string      // cleanup.policy: compact, delete or both
	Retention      time.Duration // retention.ms; negative: without end
	MinInSync      int           // min.insync.replicas; 0: not told
	MaxRecordBytes int           // max.message.bytes; 0: not told
}

// TopicSettings asks for the settings of the topic. The right DescribeConfigs on it is needed.
func (k *Kafka) TopicSettings(ctx context.Context) (TopicSettings, error) {
	var s TopicSettings
	told, err := k.settings(ctx, kafka.ResourceTypeTopic, k.topic,
		"cleanup.policy", "retention.ms", "min.insync.replicas", maxMessageBytes)
	if err != nil {
		return s, fmt.Errorf("settings of topic %s: %w", k.topic, err)
	}
	for policy := range strings.SplitSeq(told["cleanup.policy"], ",") {
		if policy = strings.TrimSpace(policy); policy != "" {
			s.Cleanup = append(s.Cleanup, policy)
		}
	}
	s.Retention = milliseconds(told["retention.ms"])
	s.MinInSync, _ = strconv.Atoi(told["min.insync.replicas"])
	s.MaxRecordBytes, _ = strconv.Atoi(told[maxMessageBytes])
	return s, nil
}

const expirationMS = "transactional.id.expiration.ms"

// FenceMemory returns how long the brokers remember a transactional id that is not used. The right DescribeConfigs on
// the cluster is needed. It takes no longer than 5 s.
func (k *Kafka) FenceMemory(ctx context.Context) (time.Duration, error) {
	return ask(ctx, k.lookLimit(), expirationMS, func(ctx context.Context) (time.Duration, error) {
		meta, err := k.metadata(ctx)
		if err != nil {
			return 0, err
		}
		if len(meta.Brokers) == 0 {
			return 0, errors.New("the cluster names no broker")
		}
		told, err := k.settings(ctx, kafka.ResourceTypeBroker, strconv.Itoa(meta.Brokers[0].ID), expirationMS)
		if err != nil {
			return 0, err
		}
		if memory := milliseconds(told[expirationMS]); memory > 0 {
			return memory, nil
		}
		return 0, fmt.Errorf("%w: not among the settings of the broker", errUntold)
	})
}

// milliseconds reads a number of them; what is none or would not fit is an end that never comes.
func milliseconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(time.Millisecond) {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

// nobody is a producer id and epoch that no broker ever hands out.
const nobody = -1

// FenceRight tells whether there is the right Write on the transactional id, and does not touch its epoch.
//
// The right Describe, which comes with Write, is what the search for the coordinator asks for. Write is asked for by
// the end of a transaction. So one is ended that cannot be: that of a producer that does not exist. Brokers look at
// the right first, and then find that the transactional id is not this producer's. An error says why the coordinator
// cannot be asked; the fence will not work then, whatever the rights are.
func (k *Kafka) FenceRight(ctx context.Context) (Right, error) {
	return ask(ctx, k.options.Limit, fmt.Sprintf("coordinator of transactional id %q", k.options.TransactionalID), k.fenceRight)
}

func (k *Kafka) fenceRight(ctx context.Context) (Right, error) {
	id := k.options.TransactionalID
	found, err := k.client.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: id, KeyType: kafka.CoordinatorKeyTypeTransaction})
	if err == nil {
		err = found.Error
	}
	if errors.Is(err, kafka.TransactionalIDAuthorizationFailed) {
		return Missing, nil
	}
	if err != nil {
		return NotTold, brief(err)
	}
	end, err := k.client.EndTxn(ctx, &kafka.EndTxnRequest{TransactionalID: id, ProducerID: nobody, ProducerEpoch: nobody})
	if err == nil {
		err = end.Error
	}
	var code kafka.Error
	switch {
	case errors.Is(err, kafka.TransactionalIDAuthorizationFailed):
		return Missing, nil
	case errors.Is(err, kafka.InvalidProducerIDMapping), errors.Is(err, kafka.InvalidProducerEpoch),
		errors.Is(err, kafka.ProducerFenced), errors.Is(err, kafka.InvalidTransactionState):
		return Granted, nil
	case errors.As(err, &code) && !mayPass(code):
		return NotTold, nil // a broker with ways of its own
	case err != nil:
		return NotTold, brief(err)
	}
	return NotTold, nil
}

// PartitionOf returns the partition, of those of the topic, into which Publish puts a key.
func (k *Kafka) PartitionOf(key []byte, partitions []int) int {
	if fixed := k.options.Partition; fixed.Set {
		return fixed.Value
	}
	return byKey().Balance(kafka.Message{Key: key}, partitions...)
}

// RecordBytes returns about how many bytes a record takes in a partition, uncompressed, whose key and value are that
// long.
func RecordBytes(key, value int) int {
	return recordOverhead + len("123456789012") + key + value
}
