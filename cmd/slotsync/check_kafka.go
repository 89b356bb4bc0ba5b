package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func kafkaChecks() []check {
	look := func(judge func(*facts) finding) func(*facts) finding {
		return func(w *facts) finding {
			if !w.kafka.reached() {
				return skip("Kafka was not reached")
			}
			return judge(w)
		}
	}
	there := func(judge func(*facts) finding) func(*facts) finding {
		return look(func(w *facts) finding {
			if w.kafka.cluster.Topic != nil {
				return skip("the topic cannot be seen")
			}
			return judge(w)
		})
	}
	told := func(judge func(*facts) finding) func(*facts) finding {
		return there(func(w *facts) finding {
			if w.kafka.settingsErr != nil {
				return skip("the settings of the topic are not told")
			}
			return judge(w)
		})
	}
	return []check{
		{"kafka_brokers", "Kafka", "brokers", judgeBrokers},
		{"kafka_cluster", "Kafka", "cluster", look(judgeCluster)},
		{"kafka_version", "Kafka", "version", look(judgeKafkaVersion)},
		{"kafka_topic", "Kafka", "topic", look(judgeTopic)},
		{"kafka_write", "Kafka", "right to write", there(judgeWrite)},
		{"kafka_replicas", "Kafka", "replicas", there(judgeReplicas)},
		{"kafka_settings", "Kafka", "right to look", there(judgeTold)},
		{"kafka_min_insync", "Kafka", "min in sync", told(judgeMinInSync)},
		{"kafka_cleanup", "Kafka", "cleanup", told(judgeCleanup)},
		{"kafka_record_size", "Kafka", "largest record", told(judgeRecordSize)},
		{"kafka_fence", "Kafka", "fence", look(judgeFence)},
		{"kafka_fence_memory", "Kafka", "fence memory", look(judgeFenceMemory)},
		{"kafka_log_ends", "Kafka", "log ends", there(judgeLogEnds)},
		{"kafka_layout", "Kafka", "layout", there(judgeLayout)},
		{"kafka_dlq", "Kafka", "dead letters", look(judgeLetters)},
	}
}

func (k *kafkaFacts) reached() bool { return k.cluster != nil && k.cluster.Reached() }

// grant begins a command that gives the worker a right.
func grant(cfg *config) string {
	return fmt.Sprintf("kafka-acls.sh --bootstrap-server %s --add --allow-principal User:<user>", cfg.Kafka.Brokers[0])
}

// set is a command that changes a setting of the topic.
func set(cfg *config, setting string) string { return setOf(cfg, cfg.Kafka.Topic, setting) }

// setOf is a command that changes settings, a comma list, of a topic.
func setOf(cfg *config, topic, settings string) string {
	return fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s",
		cfg.Kafka.Brokers[0], topic, settings)
}

func judgeBrokers(w *facts) finding {
	if w.kafka.err != nil {
		return fail("correct the setting", "%s", w.kafka.err)
	}
	var bad []string
	for _, b := range w.kafka.cluster.Brokers {
		if b.Err != nil {
			bad = append(bad, fmt.Sprintf("%s: %s", b.Address, b.Err))
		}
	}
	all := len(w.kafka.cluster.Brokers)
	const advice = "is the broker running? If so, correct what is named, or see that KAFKA_BROKERS is right and that each can be reached from here, on a listener for this way in (KAFKA_TLS, KAFKA_SASL_MECHANISM)"
	switch {
	case len(bad) == all:
		return fail(advice, "%s", strings.Join(bad, "; "))
	case len(bad) > 0:
		return warn(advice, "%d of %d answered; %s", all-len(bad), all, strings.Join(bad, "; "))
	}
	return ok("%d of %d answered", all, all)
}

func judgeCluster(w *facts) finding {
	c := w.kafka.cluster
	for _, b := range c.Brokers {
		switch {
		case b.Err != nil:
		case b.ClusterID == "":
			return fail("use Kafka 0.10.1 or newer: what is remembered is kept under the cluster's id", "%s tells no cluster id", b.Address)
		case b.ClusterID != c.ClusterID:
			return fail("take the brokers of the other cluster out of KAFKA_BROKERS", "%s belongs to another cluster (%s) than the first (%s)",
				b.Address, b.ClusterID, c.ClusterID)
		}
	}
	brokers := "1 broker"
	if c.Size != 1 {
		brokers = fmt.Sprintf("%d brokers", c.Size)
	}
	return ok("%s, %s", c.ClusterID, brokers)
}

// A producer that renews its own epoch needs version 3 of InitProducerId.
const epochVersion = 3

func judgeKafkaVersion(w *facts) finding {
	for _, b := range w.kafka.cluster.Brokers {
		if b.Err == nil && b.InitProducerID < epochVersion {
			return fail("use Kafka 2.5 or newer", "%s is older than Kafka 2.5 (InitProducerId version %d)", b.Address, b.InitProducerID)
		}
	}
	return ok("new enough: 2.5 or later")
}

func judgeTopic(w *facts) finding {
	topic := w.cfg.Kafka.Topic
	switch err := w.kafka.cluster.Topic; {
	case err != nil && w.notMade("create_topic"):
		return skip("it could not be created")
	case errors.Is(err, publish.ErrNoTopic):
		return fail("create it, with as many partitions as you will ever want", "%s does not exist, or may not be seen", topic).
			with("slotsync check --kafka-brokers %s --kafka-topic %s --create-topic --partitions 6 --replication-factor %d",
				strings.Join(w.cfg.Kafka.Brokers, ","), topic, w.usualReplicas())
	case err != nil:
		return fail("grant the rights Describe and Write on the topic", "%s: %s", topic, err).
			with("%s --operation Describe --operation Write --topic %s", grant(w.cfg), topic)
	}
	n := len(w.kafka.cluster.Partitions)
	if fixed := w.cfg.Kafka.Partition; fixed != nil {
		if w.noSuchPartition() {
			return fail("set KAFKA_PARTITION to one of them, from 0 on, or unset it", "%s has %s, none of them is %d", topic, counted(n, "partition"), *fixed)
		}
		return ok("%s, %s; all records go to partition %d", topic, counted(n, "partition"), *fixed)
	}
	return ok("%s, %s", topic, counted(n, "partition"))
}

// usualReplicas is how many copies a topic of this cluster is advised to have.
func (w *facts) usualReplicas() int { return min(3, max(1, w.kafka.cluster.Size)) }

// noSuchPartition tells whether KAFKA_PARTITION is none of the topic's.
func (w *facts) noSuchPartition() bool {
	fixed := w.cfg.Kafka.Partition
	return fixed != nil && int(*fixed) >= len(w.kafka.cluster.Partitions)
}

const otherPartition = "there is no such partition as KAFKA_PARTITION"

func judgeWrite(w *facts) finding {
	switch w.kafka.cluster.Write {
	case publish.Granted:
		return ok("granted")
	case publish.Missing:
		return fail("grant the right Write on the topic", "missing").
			with("%s --operation Write --topic %s", grant(w.cfg), w.cfg.Kafka.Topic)
	}
	return warn("see that the worker has the right Write on the topic", "not told: brokers say it from Kafka 2.3 on")
}

func judgeReplicas(w *facts) finding {
	var leaderless, lagging []string
	fewest := 0
	for _, p := range w.kafka.cluster.Partitions {
		if !p.Leader {
			leaderless = append(leaderless, strconv.Itoa(p.ID))
		}
		if p.InSync < p.Replicas {
			lagging = append(lagging, strconv.Itoa(p.ID))
		}
		if fewest == 0 || p.Replicas < fewest {
			fewest = p.Replicas
		}
	}
	switch {
	case len(leaderless) > 0:
		return fail("bring back the brokers that hold them", "no leader for partition %s: nothing can be written there", strings.Join(leaderless, ", "))
	case len(lagging) > 0:
		return warn("see why some brokers do not follow", "%d each, not all in sync for partition %s", fewest, strings.Join(lagging, ", "))
	case fewest == 1 && w.kafka.cluster.Size > 1:
		return warn("give each partition more replicas (kafka-reassign-partitions.sh): what is acknowledged can be lost with one broker",
			"1, with %d brokers", w.kafka.cluster.Size)
	}
	return ok("%d, all in sync", fewest)
}

func judgeTold(w *facts) finding {
	if err := w.kafka.settingsErr; err != nil {
		return warn("grant the right DescribeConfigs on the topic, or look yourself at min.insync.replicas, cleanup.policy and max.message.bytes",
			"%s", err).with("%s --operation DescribeConfigs --topic %s", grant(w.cfg), w.cfg.Kafka.Topic)
	}
	return ok("granted: the topic's settings are told")
}

func judgeMinInSync(w *facts) finding {
	need := w.kafka.settings.MinInSync
	replicas, inSync := 0, -1
	for _, p := range w.kafka.cluster.Partitions {
		replicas = max(replicas, p.Replicas)
		if inSync < 0 || p.InSync < inSync {
			inSync = p.InSync
		}
	}
	switch {
	case need == 0:
		return warn("look at min.insync.replicas yourself", "not told")
	case need > inSync:
		return fail("bring back the brokers that lack, or lower it: until then nothing is acknowledged",
			"min.insync.replicas is %d, and a partition has %d in sync", need, inSync).with("%s", set(w.cfg, fmt.Sprint("min.insync.replicas=", max(1, min(inSync, replicas-1)))))
	case need == 1 && replicas > 1:
		return warn("raise it: what only one broker has acknowledged can be lost with it",
			"min.insync.replicas is 1, with %d replicas", replicas).with("%s", set(w.cfg, "min.insync.replicas=2"))
	}
	return ok("min.insync.replicas is %d", need)
}

func judgeCleanup(w *facts) finding {
	s, topic := &w.kafka.settings, w.cfg.Kafka.Topic
	compacts, deletes := slices.Contains(s.Cleanup, "compact"), slices.Contains(s.Cleanup, "delete")
	short := deletes && s.Retention >= 0 && s.Retention < w.cfg.Redis.Expire
	policy := strings.Join(s.Cleanup, ",")
	switch {
	case len(s.Cleanup) == 0:
		return warn("see that cleanup.policy has compact in it", "not told")
	case short:
		return warn("compact it instead: a shift that does not change is not sent again, so consumers lose it after that time",
			"%s deletes records after %s (cleanup.policy %s, retention.ms)", topic, inDays(s.Retention), policy).with("%s", set(w.cfg, "cleanup.policy=compact"))
	case !compacts:
		return warn("compact it: then the newest record of each shift stays, and older ones go", "cleanup.policy is %s", policy).
			with("%s", set(w.cfg, "cleanup.policy=compact"))
	}
	return ok("cleanup.policy is %s", policy)
}

// Beside its 26 fields a shift has notes, which people write.
const smallRecord = 64 << 10

func judgeRecordSize(w *facts) finding {
	switch n := w.kafka.settings.MaxRecordBytes; {
	case n == 0:
		return warn("look at max.message.bytes yourself", "not told")
	case n < smallRecord:
		return warn("raise it: a shift with long notes would be set aside", "max.message.bytes is %s", grouped(n)).
			with("%s", set(w.cfg, "max.message.bytes=1048588"))
	default:
		return ok("max.message.bytes is %s", grouped(n))
	}
}

const unfenced = "a worker that was paused can write late, and an old version can end up as the newest"

func judgeFence(w *facts) finding {
	id := w.cfg.transactionalID()
	switch {
	case id == "":
		return warn("unset KAFKA_TRANSACTIONAL_ID: without it "+unfenced, "off")
	case w.kafka.fenceErr != nil:
		return fail("see that the cluster can hold __transaction_state: transaction.state.log.replication.factor must not exceed its brokers",
			"%s", w.kafka.fenceErr)
	case w.kafka.fence == publish.Missing:
		return warn("grant the right Write on it, or know that "+unfenced, "no right to transactional id %s", id).
			with("%s --operation Write --transactional-id %s", grant(w.cfg), id)
	case w.kafka.fence == publish.NotTold:
		return warn("see that the worker has the right Write on transactional id "+id+": without it "+unfenced, "not told")
	}
	return ok("may write under transactional id %s", id)
}

// fenceMemory is the least that leaves a worker time: it looks each minute, also while it waits for its next pass, whether
// a third has gone by.
const fenceMemory = 3 * time.Minute

func judgeFenceMemory(w *facts) finding {
	const name = "transactional.id.expiration.ms"
	switch k := &w.kafka; {
	case w.cfg.transactionalID() == "":
		return skip("the fence is off")
	case k.memoryErr != nil:
		return warn("grant the right DescribeConfigs on the cluster; until then the worker takes the default of 7 days for granted",
			"%s", k.memoryErr).with("%s --operation DescribeConfigs --cluster", grant(w.cfg))
	case k.memory < fenceMemory:
		return warn("raise it on the brokers: a fence that is forgotten before it is renewed holds nobody off",
			"%s is %s; to renew the fence in time a worker needs %s", name, inDays(k.memory), fenceMemory)
	}
	return ok("brokers remember an unused fence for %s", inDays(w.kafka.memory))
}

// inDays is a long time for people.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d >= day && d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return rounded(d).String()
}

func judgeLogEnds(w *facts) finding {
	state := w.redis.state
	switch {
	case w.noSuchPartition():
		return skip(otherPartition)
	case w.kafka.endsErr != nil:
		return fail("see that all partitions have a leader, and that the right Describe on the topic is there", "%s", w.kafka.endsErr)
	case state == nil:
		return skip("nothing could be read from Redis to compare them with")
	case len(state.Ends) == 0:
		return ok("nothing acknowledged yet")
	}
	for _, p := range slices.Sorted(maps.Keys(state.Ends)) {
		if end, acknowledged := w.kafka.ends[p], state.Ends[p]; end <= acknowledged {
			return warn("nothing, if the topic was meant to be made anew: the worker notices, says so and publishes the window again",
				"partition %d ends at %d, but offset %d was acknowledged: the topic was made anew or cut", p, end, acknowledged)
		}
	}
	return ok("behind all that was acknowledged, in %s", counted(len(state.Ends), "partition"))
}

// judgeLayout finds what would make the worker refuse to go on.
func judgeLayout(w *facts) finding {
	switch {
	case w.noSuchPartition():
		return skip(otherPartition)
	case w.redis.state == nil:
		return skip("nothing could be read from Redis to compare it with")
	}
	was := w.redis.state.Layout
	now := shiftsync.Layout{Partitions: len(w.kafka.cluster.Partitions), Fixed: partitioning(w.cfg), Account: w.api.account}
	if found := w.registry.found; found != nil {
		now.KeySchema = found.Key.Use
	}
	var differs []string
	for _, d := range was.Differences(now) {
		differs = append(differs, d.Error())
	}
	switch {
	case len(differs) > 0:
		return fail("change it back, or start the worker once with --accept-layout, which publishes the window anew", "%s", strings.Join(differs, "; "))
	case was.Partitions == 0:
		return ok("nothing to compare with: no worker has written here yet")
	}
	return ok("as it was")
}
