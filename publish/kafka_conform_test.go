package publish_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestWhatATopicTells(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{Partitions: 40, TopicSettings: map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": "60000", "min.insync.replicas": "1", "max.message.bytes": "54321",
	}}, func(t *testing.T, c *cluster) {
		k := startProducer(t, c, c.fenced())
		want := make(map[int]int64)
		for p := range 40 {
			want[p] = 0
		}
		for _, o := range mustPublish(t, k, versions("0", "1", "2", "3", "4", "5", "6", "7")) {
			want[o.Partition]++
		}
		if got, err := k.Topic(t.Context()); err != nil || fmt.Sprint(got.Ends) != fmt.Sprint(want) || got.MaxRecordBytes != 54321 {
			t.Errorf("got %+v, %v, want ends %v and 54321 bytes", got, err, want)
		}
		s, err := k.TopicSettings(t.Context())
		slices.Sort(s.Cleanup)
		if err != nil || strings.Join(s.Cleanup, " ") != "compact delete" || s.Retention != time.Minute || s.MinInSync != 1 || s.MaxRecordBytes != 54321 {
			t.Errorf("got %+v, %v", s, err)
		}
		d := k.Describe(t.Context())
		id, err := k.ClusterID(t.Context())
		if !d.Reached() || d.Topic != nil || d.Size != 1 || d.Write != publish.Granted || d.ClusterID != id || id == "" || err != nil {
			t.Errorf("got %+v, %v", d, err)
		}
		if len(d.Partitions) != 40 || !d.Partitions[39].Leader || d.Partitions[39].Replicas != 1 || d.Partitions[39].InSync != 1 {
			t.Errorf("got %+v", d.Partitions)
		}
		if got, err := k.FenceMemory(t.Context()); err != nil || got != 7*24*time.Hour {
			t.Errorf("the fence is remembered for %s, %v, want a week", got, err)
		}
	})
}

func TestATopicThatIsNotThereIsNamed(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		c.topic = unique()
		k := newProducer(t, c, c.fenced())
		for range 2 { // that it was asked for must not create it
			if _, err := k.Topic(t.Context()); !errors.Is(err, publish.ErrNoTopic) || !strings.Contains(err.Error(), c.topic) {
				t.Errorf("error %v, want ErrNoTopic that names it", err)
			}
		}
	})
}

func TestATooLargeRecordIsSetAsideAlone(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{TopicSettings: map[string]string{"max.message.bytes": "2000"}}, func(t *testing.T, c *cluster) {
		k := startProducer(t, c, c.fenced())
		records := versions("a", "b", strings.Repeat("private ", 1000), "c", "d")
		outcomes, err := k.Publish(t.Context(), &right{}, "pass", records)
		want := all(shiftsync.Acknowledged, 5)
		want[2] = shiftsync.Refused
		if got := fates(outcomes); err != nil || !slices.Equal(got, want) {
			t.Fatalf("fates %v, error %v, want %v", got, err, want)
		}
		if why := outcomes[2].Reason; why == "" || strings.Contains(why, "private") {
			t.Errorf("got the reason %q", why)
		}
		wantLog(t, c, "a", "b", "c", "d")
	})
}

// What may follow a takeover hangs on how far the newer epoch has got: kfake tells it to all partitions at once, a real
// broker to each one with the first batch. What the older worker wrote meanwhile lies before the newer one's records.
func TestTheFenceStandsInFrontOfTheNewerRecords(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{Partitions: 2}, func(t *testing.T, c *cluster) {
		old := startProducer(t, c, c.fenced())
		records := versions("0", "1", "2", "3", "4", "5", "6", "7")
		var parts [2][]shiftsync.Record
		for i, o := range mustPublish(t, old, records) {
			parts[o.Partition] = append(parts[o.Partition], records[i])
		}
		next := startProducer(t, c, c.fenced())
		mustPublish(t, next, parts[0])

		outcomes, err := old.Publish(t.Context(), &right{}, "late", parts[1])
		if c.real() {
			if got := fates(outcomes); err != nil || !slices.Equal(got, all(shiftsync.Acknowledged, len(parts[1]))) {
				t.Errorf("where the newer one has not written yet: fates %v, error %v", got, err)
			}
		} else if !errors.Is(err, shiftsync.ErrFenced) {
			t.Errorf("kfake: error %v, want ErrFenced", err)
		}
		mustPublish(t, next, parts[1])

		before := read(t, c)
		for p, part := range parts {
			outcomes, err := old.Publish(t.Context(), &right{}, "late", part)
			if got := fates(outcomes); !errors.Is(err, shiftsync.ErrFenced) || !slices.Equal(got, all(shiftsync.Unsent, len(part))) {
				t.Errorf("partition %d: fates %v, error %v, want Unsent and ErrFenced", p, got, err)
			}
		}
		if after := read(t, c); len(after) != len(before) {
			t.Errorf("%d records landed behind the newer ones", len(after)-len(before))
		}
	})
}

// Whoever renews or begins with an epoch that is not the newest learns that somebody newer is at work. kfake gives him
// another one.
func TestAnOldEpochIsNotRenewed(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, k *publish.Kafka) error{
		"renew": func(t *testing.T, k *publish.Kafka) error { return k.Renew(t.Context()) },
		"begin": func(t *testing.T, k *publish.Kafka) error { return k.Begin(t.Context(), false) },
	} {
		t.Run(name, func(t *testing.T) {
			onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
				o := c.fenced()
				o.RenewEvery = 1
				old := startProducer(t, c, o)
				startProducer(t, c, c.fenced())
				err := ask(t, old)
				if want := c.real(); errors.Is(err, shiftsync.ErrFenced) != want || (err == nil) == want {
					t.Errorf("got %v, want ErrFenced: %t", err, want)
				}
				if !c.real() {
					return
				}
				outcomes, err := old.Publish(t.Context(), &right{}, "late", versions("late"))
				if got := fates(outcomes); !errors.Is(err, shiftsync.ErrFenced) || !slices.Equal(got, all(shiftsync.Unsent, 1)) {
					t.Errorf("fates %v, error %v, want Unsent and ErrFenced", got, err)
				}
				wantLog(t, c)
			})
		})
	}
}

func TestAnEpochThatIsRenewedGoesOn(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		o := c.fenced()
		o.RenewEvery = 1
		k := startProducer(t, c, o)
		for _, value := range []string{"a", "b", "c"} {
			mustPublish(t, k, versions(value))
			if err := k.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Begin(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, k, versions("d"))
		wantLog(t, c, "a", "b", "c", "d")
	})
}
