package publish_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestTopic(t *testing.T) {
	t.Parallel()
	t.Run("tells ends and the largest record", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Brokers: 3, Partitions: 40, ClusterID: "here", TopicSettings: map[string]string{"max.message.bytes": "54321"}})
		k := startProducer(t, c, fenced)
		want := make(map[int]int64)
		for p := range 40 {
			want[p] = 0
		}
		for _, o := range mustPublish(t, k, versions("0", "1", "2", "3", "4", "5", "6", "7")) {
			want[o.Partition]++
		}
		got, err := k.Topic(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got.Ends) != fmt.Sprint(want) || got.MaxRecordBytes != 54321 {
			t.Errorf("got %+v, want ends %v and 54321 bytes", got, want)
		}
		if id, err := k.ClusterID(t.Context()); id != "here" || err != nil {
			t.Errorf("cluster id %q, error %v, want here", id, err)
		}
	})
	t.Run("without the right to see settings there is no limit", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		got, err := newProducer(t, c, fenced).Topic(t.Context())
		if err != nil || got.MaxRecordBytes != 0 || len(got.Ends) != 1 {
			t.Errorf("got %+v, error %v", got, err)
		}
	})
	t.Run("does not take an error of the broker for silence", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownServerError, Count: -1})
		_, err := newProducer(t, c, publish.KafkaOptions{Limit: time.Second}).Topic(t.Context())
		if got := fmt.Sprint(err); !strings.Contains(got, c.Addrs[0]+" did not answer, or with an error that its log tells more of") {
			t.Errorf("got %v, want the broker, and that it may have answered", err)
		}
	})
	t.Run("keeps the limit that it was told when an answer fails", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{TopicSettings: map[string]string{"max.message.bytes": "54321"}})
		k := newProducer(t, c, publish.KafkaOptions{Attempt: time.Second})
		largest := func() int {
			t.Helper()
			got, err := k.Topic(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got.MaxRecordBytes
		}
		if got := largest(); got != 54321 {
			t.Fatalf("got %d, want 54321", got)
		}
		for _, code := range []*kerr.Error{kerr.RequestTimedOut, kerr.UnknownServerError, kerr.NetworkException} {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: code})
			if got := largest(); got != 54321 {
				t.Errorf("after %s: got %d, want 54321 still", code.Message, got)
			}
		}
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed})
		if got := largest(); got != 0 {
			t.Errorf("without the right: got %d, want 0", got)
		}
	})
	t.Run("keeps it when there is no answer", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{TopicSettings: map[string]string{"max.message.bytes": "54321"}})
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		k := newProducer(t, c, publish.KafkaOptions{Attempt: 200 * time.Millisecond, Dial: proxy.Dial})
		if _, err := k.Topic(t.Context()); err != nil {
			t.Fatal(err)
		}
		proxy.Catch(publishtest.Answer, int16(kmsg.DescribeConfigs), 1)
		if got, err := k.Topic(t.Context()); err != nil || got.MaxRecordBytes != 54321 {
			t.Errorf("got %+v, error %v, want 54321 bytes still", got, err)
		}
	})
	t.Run("is named when it is missing, and not created", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Topic: "another"})
		c.topic = topic
		_, err := newProducer(t, c, fenced).Topic(t.Context())
		if !errors.Is(err, publish.ErrNoTopic) || !strings.Contains(err.Error(), topic) || !strings.Contains(err.Error(), "create it") {
			t.Errorf("error %v, want ErrNoTopic that names it and says what to do", err)
		}
		if c.TopicInfo(topic) != nil {
			t.Error("created")
		}
	})
	t.Run("has to have the partition that is set", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Partitions: 2})
		_, err := newProducer(t, c, publish.KafkaOptions{Partition: shiftsync.Some(2)}).Topic(t.Context())
		if err == nil || !strings.Contains(err.Error(), "partition 2") {
			t.Errorf("error %v, want one that names the partition", err)
		}
	})
	t.Run("of another cluster is refused", func(t *testing.T) {
		t.Parallel()
		first, err := publishtest.StartKafka(publishtest.KafkaOptions{Topic: topic, ClusterID: "first"})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		second := startKafka(t, publishtest.KafkaOptions{ClusterID: "second"})
		addrs := append(slices.Clone(first.Addrs), second.Addrs...)
		var moved atomic.Bool
		k, err := publish.NewKafka(addrs[:1], topic, publish.KafkaOptions{
			Limit: 10 * time.Second,
			Dial: redirect(addrs[0], func() string {
				if moved.Load() {
					return addrs[1]
				}
				return addrs[0]
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if err := k.Begin(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		moved.Store(true)
		first.Close()
		for began := time.Now(); ; {
			_, err := k.Topic(t.Context())
			if errors.Is(err, publish.ErrOtherCluster) {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("error %v, want ErrOtherCluster", err)
			}
		}
		if err := k.Begin(t.Context(), true); !errors.Is(err, publish.ErrOtherCluster) {
			t.Errorf("begin: error %v, want ErrOtherCluster", err)
		}
	})
	t.Run("away, it fails in bounded time", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		c.Close()
		k := newProducer(t, c, publish.KafkaOptions{Limit: 300 * time.Millisecond})
		began := time.Now()
		if _, err := k.Topic(t.Context()); err == nil || time.Since(began) > 3*time.Second {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
	})
}

func TestAllFaultsOfAConfigurationAreNamed(t *testing.T) {
	_, err := publish.NewKafka(nil, "", publish.KafkaOptions{Compression: "zip", Partition: shiftsync.Some(-1)})
	for _, want := range []string{"brokers", "topic", "zip", "-1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// redirect dials what now says in the place of one address.
func redirect(from string, now func() string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == from {
			address = now()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}
