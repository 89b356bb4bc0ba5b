package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Kafka is an idempotent producer for one topic, fenced by a transactional id though it writes no transactions.
//
// The broker numbers what a producer id sends to a partition. So a batch is formed once and repeated byte for byte
// under its number until it is answered: what arrived twice is kept once. Whatever is formed anew after an attempt
// without a definite answer gets a new epoch, in which the broker refuses all that is still under way in the old one.
//
// Publish, Begin and Renew wait for each other; the other methods may be called at any time.
type Kafka struct {
	brokers   []string // as they were given
	topic     string
	options   KafkaOptions
	compress  kafka.Compression
	dialer    *dialer
	transport *kafka.Transport
	client    *kafka.Client
	counters  counters

	cluster atomic.Pointer[string] // the first cluster id that was seen
	layout  atomic.Pointer[layout] // the topic as it was last seen

	mu      sync.Mutex // guards what follows
	session *session   // nil before the first Begin
	lanes   map[int]*lane
	ousted  bool // the broker said that somebody newer is at work
	noticed bool // OnNotice was told that there is no right to the transactional id
}

var _ shiftsync.Publisher = (*Kafka)(nil)

// KafkaOptions say how records are sent. Zero values mean the defaults.
type KafkaOptions struct {
	// Partition takes all records. Unset, the murmur2 hash of its key decides for each, as in Java producers.
	Partition   shiftsync.Optional[int]
	Compression string // none (the default), gzip, snappy, lz4 or zstd

	// TransactionalID fences: of all workers with the same one, the broker takes records only of the last to begin.
	// Empty, the producer is idempotent and not fenced.
	TransactionalID string
	ClientID        string

	// Dial connects to a broker, over TLS if that is to be; nil: as the net package does.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Login *Login // over what Dial has connected; nil: none

	Attempt    time.Duration // longest wait for one answer; 0: 5 s
	Limit      time.Duration // longest time for one call of Publish, Begin or Renew, all its attempts together; 0: 20 s
	RenewEvery time.Duration // age at which Renew takes a new epoch; 0: a day, or a third of the broker's expiration

	// OnNotice is told what an operator should know, once. It must not block. nil: nobody is told.
	OnNotice func(string)
}

var (
	// ErrOtherCluster is that of the core.
	ErrOtherCluster = shiftsync.ErrOtherCluster
	// ErrNoTopic is that of the core. A topic is never created here: its partition count decides the order of keys and
	// has to be chosen.
	ErrNoTopic = shiftsync.ErrNoTopic
)

const (
	// batchBytes bounds a batch before compression. Brokers take 1,048,588 bytes unless told otherwise.
	batchBytes = 900_000
	// atOnce bounds the requests under way at a time, each of which needs a connection of its own.
	atOnce = 16
)

// NewKafka returns a producer for the topic. It does not ask the brokers, given as host:port, yet.
func NewKafka(brokers []string, topic string, o KafkaOptions) (*Kafka, error) {
	var faults []error
	if len(brokers) == 0 {
		faults = append(faults, errors.New("no brokers"))
	}
	if topic == "" {
		faults = append(faults, errors.New("no topic"))
	}
	if o.Partition.Set && o.Partition.Value < 0 {
		faults = append(faults, fmt.Errorf("partition %d is negative", o.Partition.Value))
	}
	compress, ok := map[string]kafka.Compression{
		"": 0, "none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}[o.Compression]
	if !ok {
		faults = append(faults, fmt.Errorf("compression %q is none of none, gzip, snappy, lz4, zstd", o.Compression))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("kafka: %w", errors.Join(faults...))
	}

	if o.Attempt == 0 {
		o.Attempt = 5 * time.Second
	}
	if o.Limit == 0 {
		o.Limit = 20 * time.Second
	}
	if o.OnNotice == nil {
		o.OnNotice = func(string) {}
	}
	d := newDialer(&o)
	transport := &kafka.Transport{
		Dial:        d.dial,
		DialTimeout: d.timeout(),
		// The leader after one that died is found by the next refresh, at a random time within this; until then each attempt
		// fails. To ask every second is most of what a worker costs that has nothing to do.
		MetadataTTL:    4 * time.Second,
		MetadataTopics: []string{topic}, // else the metadata of every topic is fetched each time
		ClientID:       o.ClientID,
	}
	d.rest = transport.CloseIdleConnections // and those in use after their answer
	return &Kafka{
		brokers:   slices.Clone(brokers),
		topic:     topic,
		options:   o,
		compress:  compress,
		dialer:    d,
		transport: transport,
		client:    &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: o.Attempt, Transport: sessions{transport, d}},
		lanes:     make(map[int]*lane),
	}, nil
}

// Close ends all connections. It must not be called while another method is at work.
func (k *Kafka) Close() error {
	k.Rest()
	k.dialer.close()
	return nil
}

// Rest ends all connections, and the library's own asking for news of the cluster, which goes on for ever once it has
// begun. Both come back with the next call of another method. What is under way is not disturbed.
func (k *Kafka) Rest() { k.transport.CloseIdleConnections() }

// ClusterID returns the id of the Kafka cluster, which is part of a destination's name. It takes no longer
// than 5 s, or 8 s with a login, and rests then: who asks may have to stand by for long.
func (k *Kafka) ClusterID(ctx context.Context) (string, error) {
	defer k.Rest()
	meta, err := ask(ctx, k.lookLimit(), "kafka: cluster id", k.metadata)
	if err != nil {
		return "", err
	}
	return meta.ClusterID, nil
}

// Topic returns the log ends of the topic's partitions and, if the right to describe its settings is there, the
// largest record that it takes. It is ErrNoTopic or ErrOtherCluster when that is so, and takes no longer than 5 s, or 8 s
// with a login.
func (k *Kafka) Topic(ctx context.Context) (shiftsync.Topic, error) {
	return ask(ctx, k.lookLimit(), "kafka: topic "+k.topic, k.look)
}

func (k *Kafka) lookLimit() time.Duration {
	if k.options.Login != nil {
		return min(loginLimit, k.options.Limit)
	}
	return min(lookLimit, k.options.Limit)
}

// layout is what publishing has to know of the topic. It is what Topic last told, not the newest: the partition count
// is only used after those who compare it with the remembered one have seen it.
type layout struct {
	partitions []int
	maxRecord  int // 0: not known
}

func (k *Kafka) look(ctx context.Context) (shiftsync.Topic, error) {
	none := shiftsync.Topic{}
	meta, err := k.metadata(ctx)
	if err != nil {
		return none, err
	}
	i := slices.IndexFunc(meta.Topics, func(t kafka.Topic) bool { return t.Name == k.topic })
	switch {
	case i < 0, errors.Is(meta.Topics[i].Error, kafka.UnknownTopicOrPartition):
		return none, fmt.Errorf("%w: create it, with the partition count that its keys shall keep", ErrNoTopic)
	case errors.Is(meta.Topics[i].Error, kafka.TopicAuthorizationFailed):
		return none, fmt.Errorf("%w: the rights Describe and Write on the topic are needed", kafka.TopicAuthorizationFailed)
	case meta.Topics[i].Error != nil:
		return none, brief(meta.Topics[i].Error)
	}

	now := &layout{}
	for _, p := range meta.Topics[i].Partitions {
		now.partitions = append(now.partitions, p.ID)
	}
	slices.Sort(now.partitions)
	if fixed := k.options.Partition; fixed.Set && !slices.Contains(now.partitions, fixed.Value) {
		return none, backoff.Permanent(fmt.Errorf("there is no partition %d among its %d", fixed.Value, len(now.partitions)))
	}
	topic := shiftsync.Topic{Ends: make(map[int]int64, len(now.partitions))}
	for some := range slices.Chunk(now.partitions, atOnce) {
		if err := k.ends(ctx, some, topic.Ends); err != nil {
			return none, err
		}
	}
	switch told, err := k.settings(ctx, kafka.ResourceTypeTopic, k.topic, maxMessageBytes); {
	case err == nil:
		now.maxRecord, _ = strconv.Atoi(told[maxMessageBytes])
	case errors.Is(err, errUntold):
	default:
		// Another limit makes every shift be decided anew, which one lost answer must not do.
		if last := k.layout.Load(); last != nil {
			now.maxRecord = last.maxRecord
		}
	}
	topic.MaxRecordBytes = now.maxRecord
	k.layout.Store(now)
	return topic, nil
}

// metadata comes from the transport, which refreshes it every second or two.
func (k *Kafka) metadata(ctx context.Context) (*kafka.MetadataResponse, error) {
	meta, err := k.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{k.topic}})
	if err != nil {
		return nil, k.adviseBrokers(brief(err))
	}
	if meta.ClusterID == "" {
		return nil, backoff.Permanent(errors.New("the brokers tell no cluster id: Kafka 0.10.1 or newer is needed"))
	}
	k.cluster.CompareAndSwap(nil, &meta.ClusterID)
	if first := *k.cluster.Load(); first != meta.ClusterID {
		return nil, fmt.Errorf("%w: %s, was %s: another cluster is another destination, restart to work for it",
			ErrOtherCluster, meta.ClusterID, first)
	}
	return meta, nil
}

// adviseBrokers adds to an error of the network, in asking the brokers of the configuration, what to look at.
func (k *Kafka) adviseBrokers(err error) error {
	var code kafka.Error
	var login *loginError
	if errors.As(err, &code) || errors.As(err, &login) || mustBeMended(err) || errors.Is(err, context.Canceled) ||
		errors.Is(err, errWantsTLS) || errors.Is(err, errWantsLogin) { // which say what to look at
		return err
	}
	if told := k.dialer.noLogin(k.brokers); told != nil {
		return told
	}
	return fmt.Errorf("%w; is KAFKA_BROKERS (%s) right, and are they up?", err, k.client.Addr)
}

// adviseAdvertised does the same for a broker that the others told of.
func adviseAdvertised(err error) error {
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		return err
	}
	return fmt.Errorf("%w; is this broker up, and the address that it advertises (advertised.listeners) to be reached from here?", err)
}

// ends asks for the log ends of some partitions, each of which is a request of its own at the same time.
func (k *Kafka) ends(ctx context.Context, partitions []int, into map[int]int64) error {
	asked := make([]kafka.OffsetRequest, len(partitions))
	for i, p := range partitions {
		asked[i] = kafka.LastOffsetOf(p)
	}
	res, err := k.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{k.topic: asked}})
	if err != nil {
		return k.endless(ctx, partitions, err)
	}
	for _, p := range res.Topics[k.topic] {
		switch {
		case errors.Is(p.Error, kafka.Unknown): // which a broker may say, and the library makes of a connection that broke
			leader, trouble := k.leader(ctx, p.Partition)
			if trouble != nil {
				return fmt.Errorf("log end of partition %d at %s: %w", p.Partition, leader, trouble)
			}
			return fmt.Errorf("log end of partition %d: %s did not answer, or with an error that its log tells more of: %w", p.Partition, leader, kafka.Unknown)
		case p.Error != nil:
			return fmt.Errorf("log end of partition %d: %w", p.Partition, adviseAdvertised(brief(p.Error)))
		}
		into[p.Partition] = p.LastOffset
	}
	return nil
}

// endless says why there are no log ends at all, and of which broker that is known.
func (k *Kafka) endless(ctx context.Context, partitions []int, err error) error {
	asked := make(map[string]bool)
	for _, p := range partitions {
		leader, trouble := k.leader(ctx, p)
		if trouble != nil {
			return fmt.Errorf("log end of partition %d at %s: %w", p, leader, trouble)
		}
		asked[leader] = true
		if leader == unknownBroker {
			break // and so are the others
		}
	}
	return fmt.Errorf("log ends at %s: %w", strings.Join(slices.Sorted(maps.Keys(asked)), ", "), adviseAdvertised(brief(err)))
}

// maxMessageBytes is the topic's setting for the largest batch, and so for the largest record.
const maxMessageBytes = "max.message.bytes"

// errUntold says that there is no such setting, or no right to see it. Whoever asks can do without.
var errUntold = errors.New("not told")

// settings asks for settings of a broker or topic by their names. One that there is not is left out; errUntold says that
// none may be seen. After any other error nothing is known of them.
func (k *Kafka) settings(ctx context.Context, of kafka.ResourceType, name string, keys ...string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, k.options.Attempt/2)
	defer cancel()
	res, err := k.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: of, ResourceName: name, ConfigNames: keys}},
	})
	if err != nil {
		return nil, untold(brief(err))
	}
	told := make(map[string]string, len(keys))
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, untold(brief(r.Error))
		}
		for _, e := range r.ConfigEntries {
			told[e.ConfigName] = e.ConfigValue
		}
	}
	return told, nil
}

// untold knows the answers that mean errUntold.
func untold(err error) error {
	for _, code := range []kafka.Error{kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.UnsupportedVersion} {
		if errors.Is(err, code) {
			return fmt.Errorf("%w: %w", errUntold, err)
		}
	}
	return err
}

const unknownBroker = "an unknown broker"

// leader names the broker that a partition's records go to, for error texts, and returns what somebody has to mend about
// the way there, or nil.
func (k *Kafka) leader(ctx context.Context, partition int) (name string, trouble error) {
	// This answer is at hand, except when no broker was ever reached.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
	defer cancel()
	meta, err := k.metadata(ctx)
	if err != nil {
		return unknownBroker, k.dialer.trouble(k.brokers...)
	}
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			if p.ID == partition && p.Leader.Host != "" {
				at := net.JoinHostPort(p.Leader.Host, strconv.Itoa(p.Leader.Port))
				return at, k.dialer.trouble(at)
			}
		}
	}
	return "no broker, since it has no leader", nil
}
