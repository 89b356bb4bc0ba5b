package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/slotsync/slotsync/publish"
)

// createTopics makes the topic, and that of dead letters, if that is asked for, and says what became of each.
func createTopics(ctx context.Context, cfg *config) (made []finding) {
	c := &cfg.Check
	if !c.CreateTopic {
		return nil
	}
	kafka, err := newKafka(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		f := fail("correct the setting", "%s", err)
		f.Name, f.Group, f.title = "create_topic", "Create", "topic"
		return []finding{f}
	}
	defer kafka.Close()
	topic := createTopic(ctx, cfg, cfg.Kafka.Topic, c.unheeded(),
		fmt.Sprintf("%s, %s, cleanup.policy=compact", orDefault(c.Partitions, "partition"), orDefault(c.ReplicationFactor, "replica")),
		func(ctx context.Context) (bool, error) {
			return kafka.CreateTopic(ctx, c.Partitions, c.ReplicationFactor)
		})
	if topic.created && c.Partitions == 0 {
		topic = warnOfDefault(cfg, len(kafka.Describe(ctx).Partitions))
	}
	topic.Name, topic.Group, topic.title = "create_topic", "Create", "topic"
	made = append(made, topic)
	if cfg.Kafka.DeadLetters == "" {
		return made
	}
	letters := createTopic(ctx, cfg, cfg.Kafka.DeadLetters, "",
		fmt.Sprintf("1 partition, %s, kept for %s", orDefault(c.ReplicationFactor, "replica"), inDays(keepLetters)),
		func(ctx context.Context) (bool, error) {
			letters, err := newDeadLetters(cfg, kafka)
			if err != nil {
				return false, err
			}
			defer letters.Close()
			return letters.CreateTopic(ctx, c.ReplicationFactor, keepLetters)
		})
	letters.Name, letters.Group, letters.title = "create_dlq_topic", "Create", "dead letters"
	return append(made, letters)
}

// createTopic says what became of a topic that is to be made.
func createTopic(ctx context.Context, cfg *config, topic, unheeded, as string, create func(context.Context) (bool, error)) finding {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	began := time.Now()
	created, err := create(ctx)
	switch err = waited(began, err); {
	case errors.Is(err, publish.ErrMayNotCreate):
		return fail("grant the right Create on the topic; then call this again", "%s", err).
			with("%s --operation Create --topic %s", grant(cfg), topic)
	case errors.Is(err, publish.ErrTooFewBrokers):
		return fail("lower --replication-factor to what there are brokers, or unset it; then call this again", "%s", err)
	case err != nil:
		return fail("mend what is named; then call this again", "%s", err)
	case !created:
		return ok("%s is there already and was left as it is%s", topic, unheeded)
	}
	f := ok("%s: %s", topic, as)
	f.created = true
	return f
}

// warnOfDefault says how many partitions the cluster's default has given a topic: the number cannot be changed later without
// losing the order of its keys.
func warnOfDefault(cfg *config, partitions int) finding {
	number := "as many partitions as the cluster's default"
	if partitions > 0 {
		number = counted(partitions, "partition")
	}
	return warn("see that it is as many as you will ever want: order and compaction hang on it. Else delete the topic while it is empty, and call this again with --partitions",
		"%s: %s, which the cluster's default gave it, %s, cleanup.policy=compact", cfg.Kafka.Topic, number, orDefault(cfg.Check.ReplicationFactor, "replica"))
}

// notMade tells whether a topic was to be created and could not be.
func (w *facts) notMade(name string) bool {
	return slices.ContainsFunc(w.made, func(f finding) bool { return f.Name == name && f.Verdict == verdictFail })
}

// unheeded says which flags had no effect on a topic that is there already.
func (c *checkOptions) unheeded() string {
	var flags []string
	if c.Partitions != 0 {
		flags = append(flags, fmt.Sprint("--partitions ", c.Partitions))
	}
	if c.ReplicationFactor != 0 {
		flags = append(flags, fmt.Sprint("--replication-factor ", c.ReplicationFactor))
	}
	if len(flags) == 0 {
		return ""
	}
	return ", whatever " + strings.Join(flags, " and ") + " ask for"
}

func orDefault(n int, what string) string {
	switch n {
	case 0:
		return what + "s as the cluster's default has it"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
