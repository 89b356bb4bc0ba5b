package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slotsync/slotsync/publish"
)

const (
	keepLetters   = 30 * 24 * time.Hour // in a topic that we make
	retainLetters = 3 * 24 * time.Hour  // the least that outlasts a weekend
)

// judgeLetters looks at the topic of dead letters.
func judgeLetters(w *facts) finding {
	l, topic := &w.kafka.letters, w.cfg.Kafka.DeadLetters
	switch {
	case topic == "":
		return ok("off: bad shifts are named in the log, and their content is not kept")
	case l.err != nil:
		return fail("correct the setting", "%s", l.err)
	case w.notMade("create_dlq_topic"):
		return skip("it could not be created")
	case l.cluster == nil || !l.cluster.Reached():
		return warn("call this again", "%s was not asked about: no broker answered", topic)
	case errors.Is(l.cluster.Topic, publish.ErrNoTopic):
		return fail("create it, or unset DLQ_TOPIC: until it is there, dead letters wait in Redis", "%s does not exist, or may not be seen", topic).
			with("slotsync check --kafka-brokers %s --kafka-topic %s --dlq-topic %s --create-topic --replication-factor %d",
				strings.Join(w.cfg.Kafka.Brokers, ","), w.cfg.Kafka.Topic, topic, w.usualReplicas())
	case l.cluster.Topic != nil:
		return fail("grant the rights Describe and Write on it", "%s: %s", topic, l.cluster.Topic).
			with("%s --operation Describe --operation Write --topic %s", grant(w.cfg), topic)
	case l.cluster.Write == publish.Missing:
		return fail("grant the right Write on it: without it dead letters wait in Redis", "%s: no right to write", topic).
			with("%s --operation Write --topic %s", grant(w.cfg), topic)
	case slices.ContainsFunc(l.cluster.Partitions, func(p publish.PartitionState) bool { return !p.Leader }):
		return fail("bring back the brokers that hold them", "%s: some partitions have no leader", topic)
	case l.settingsErr != nil:
		return warn("grant the right DescribeConfigs on it, or look yourself at cleanup.policy, retention.ms and max.message.bytes",
			"%s", l.settingsErr).with("%s --operation DescribeConfigs --topic %s", grant(w.cfg), topic)
	}
	return judgeLetterSettings(w, &l.settings, topic)
}

// judgeLetterSettings finds what of the topic's settings would cost letters, or what is in them.
func judgeLetterSettings(w *facts, s *publish.TopicSettings, topic string) finding {
	var seen, advice, settings []string
	deletes := slices.Contains(s.Cleanup, "delete")
	if slices.Contains(s.Cleanup, "compact") {
		seen = append(seen, "cleanup.policy is "+strings.Join(s.Cleanup, ","))
		advice = append(advice, "take compact out: a shift without an id has no key, a compacted topic refuses its letter, which waits in Redis")
		settings = append(settings, "cleanup.policy=delete")
	}
	if deletes && s.Retention >= 0 && s.Retention < retainLetters {
		seen = append(seen, "retention.ms is "+inDays(s.Retention))
		advice = append(advice, "raise it, so that letters are still there when somebody looks")
		settings = append(settings, fmt.Sprint("retention.ms=", keepLetters.Milliseconds()))
	}
	if most := w.kafka.settings.MaxRecordBytes; s.MaxRecordBytes > 0 && s.MaxRecordBytes < most {
		seen = append(seen, fmt.Sprintf("max.message.bytes is %s, and that of %s is %s", grouped(s.MaxRecordBytes), w.cfg.Kafka.Topic, grouped(most)))
		advice = append(advice, "raise it: a letter that is larger is cut")
		settings = append(settings, fmt.Sprint("max.message.bytes=", most))
	}
	if len(seen) > 0 {
		return warn(strings.Join(advice, "; "), "%s: %s", topic, strings.Join(seen, "; ")).
			with("%s", setOf(w.cfg, topic, strings.Join(settings, ",")))
	}
	kept := "are kept"
	if deletes && s.Retention >= 0 {
		kept = "are kept for " + inDays(s.Retention)
	}
	if l := &w.kafka.letters; l.cluster.Write == publish.NotTold {
		return warn("see that the worker has the right Write on it", "%s: letters %s; rights are not told: brokers say them from Kafka 2.3 on", topic, kept)
	}
	return ok("%s, letters %s", topic, kept)
}
