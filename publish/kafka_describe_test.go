package publish_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
)

func TestDescribeOverTLS(t *testing.T) {
	t.Parallel()
	known := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate, and the trust in it
	defer known.Close()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: known.TLS.Certificates}), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	trusting := known.Client().Transport.(*http.Transport).TLSClientConfig
	for _, try := range []struct {
		claim string
		dial  func(ctx context.Context, network, address string) (net.Conn, error)
		says  string
	}{
		{"trusted", (&tls.Dialer{Config: &tls.Config{RootCAs: trusting.RootCAs}}).DialContext, ""},
		{"a certificate that nobody vouches for", (&tls.Dialer{}).DialContext, "tls: "},
		{"plain text", nil, "expects TLS: is KAFKA_TLS right"},
	} {
		k, err := publish.NewKafka(c.ListenAddrs(), topic, publish.KafkaOptions{Dial: try.dial, Attempt: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		got := k.Describe(t.Context()).Brokers[0].Err
		if (got == nil) != (try.says == "") || got != nil && !strings.Contains(got.Error(), try.says) {
			t.Errorf("%s: got %v, want %q", try.claim, got, try.says)
		}
		_ = k.Close()
	}
}

// Real brokers answer a wrong password with a code; the embedded one hangs up unless it is told to.
func TestARefusedLoginIsNamed(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.User("PLAIN", "ann", "hush-hush"), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	k, err := publish.NewKafka(c.ListenAddrs(), topic, publish.KafkaOptions{Login: plainLogin(t, "hush-hush")})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if got := k.Describe(t.Context()).Brokers[0].Err; !errors.Is(got, kafka.SASLAuthenticationFailed) {
		t.Errorf("got %v", got)
	}
}

func plainLogin(t *testing.T, password string) *publish.Login {
	t.Helper()
	login, err := publish.PasswordLogin("PLAIN", "ann", func() (string, error) { return password, nil })
	if err != nil {
		t.Fatal(err)
	}
	return login
}

// rights lets a client look at what there is and hand out rights, and whatever else is given.
func rights(more ...kfake.ACL) []kfake.ACL {
	return append(more,
		publishtest.May(kmsg.ACLOperationAll, kmsg.ACLResourceTypeCluster, "kafka-cluster"),
		publishtest.May(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, topic),
		publishtest.May(kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeTopic, topic),
	)
}

// keysSeen notes the keys of all requests that a cluster gets.
func keysSeen(c *cluster) func() map[int16]int {
	var mu sync.Mutex // guards seen
	seen := map[int16]int{}
	c.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		seen[r.Key()]++
		return nil, nil, false
	})
	return func() map[int16]int {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{Brokers: 3, Partitions: 4, ClusterID: "here", TopicSettings: map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": "60000", "min.insync.replicas": "2", "max.message.bytes": "54321",
	}})
	k := newProducer(t, c, fenced)
	d := k.Describe(t.Context())
	if !d.Reached() || d.ClusterID != "here" || d.Size != 3 || d.Topic != nil || d.Write != publish.Granted || len(d.Brokers) != 3 {
		t.Errorf("got %+v", d)
	}
	for _, b := range d.Brokers {
		if b.Err != nil || b.InitProducerID < 3 || b.ClusterID != "here" {
			t.Errorf("got %+v", b)
		}
	}
	if len(d.Partitions) != 4 || !d.Partitions[3].Leader || d.Partitions[3].Replicas == 0 || d.Partitions[3].InSync == 0 {
		t.Errorf("got %+v", d.Partitions)
	}
	s, err := k.TopicSettings(t.Context())
	if err != nil || strings.Join(s.Cleanup, " ") != "compact delete" || s.Retention != time.Minute || s.MinInSync != 2 || s.MaxRecordBytes != 54321 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestEachBootstrapBrokerIsAsked(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	k, err := publish.NewKafka([]string{"127.0.0.1:1", silent.Addr().String(), c.Addrs[0]}, topic, publish.KafkaOptions{Attempt: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	d := k.Describe(t.Context())
	if d.Brokers[0].Err == nil || !strings.Contains(d.Brokers[0].Err.Error(), "refused") {
		t.Errorf("nobody there: got %v", d.Brokers[0].Err)
	}
	if !errors.Is(d.Brokers[1].Err, context.DeadlineExceeded) {
		t.Errorf("silence: got %v", d.Brokers[1].Err)
	}
	if d.Brokers[2].Err != nil || !d.Reached() || len(d.Partitions) != 1 {
		t.Errorf("got %+v", d)
	}
}

func TestABrokerThatWantsALogin(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.User("PLAIN", "ann", "hush-hush"), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, try := range []struct {
		claim string
		o     publish.KafkaOptions
		says  string
	}{
		{"takes the right one", publish.KafkaOptions{Login: plainLogin(t, "hush-hush")}, ""},
		{"hangs up without", publish.KafkaOptions{}, "closed the connection"},
		{"hangs up on a wrong one", publish.KafkaOptions{Login: plainLogin(t, "shout")}, "login"},
	} {
		k, err := publish.NewKafka(c.ListenAddrs(), topic, try.o)
		if err != nil {
			t.Fatal(err)
		}
		got := k.Describe(t.Context()).Brokers[0].Err
		if (got == nil) != (try.says == "") || got != nil && (!strings.Contains(got.Error(), try.says) || strings.Contains(got.Error(), "shout")) {
			t.Errorf("%s: got %v, want %q", try.claim, got, try.says)
		}
		_ = k.Close()
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	write := publishtest.May(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, topic)
	fence := publishtest.May(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTransactionalId, fenced.TransactionalID)
	mayDescribe := publishtest.May(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTransactionalId, fenced.TransactionalID)
	for _, try := range []struct {
		claim        string
		rights       []kfake.ACL
		write, fence publish.Right
	}{
		{"none", rights(), publish.Missing, publish.Missing},
		{"to describe is not to write", rights(mayDescribe), publish.Missing, publish.Missing},
		{"both", rights(write, fence), publish.Granted, publish.Granted},
		{"the topic alone", rights(write), publish.Granted, publish.Missing},
	} {
		t.Run(try.claim, func(t *testing.T) {
			t.Parallel()
			c := startKafka(t, publishtest.KafkaOptions{Rights: try.rights})
			k := newProducer(t, c, fenced)
			if got := k.Describe(t.Context()).Write; got != try.write {
				t.Errorf("topic: got %v, want %v", got, try.write)
			}
			if got, err := k.FenceRight(t.Context()); got != try.fence || err != nil {
				t.Errorf("transactional id: got %v, %v, want %v", got, err, try.fence)
			}
			if try.write == publish.Granted {
				return
			}
			if err := c.Grant(t.Context(), write); err != nil {
				t.Fatal(err)
			}
			if err := c.Grant(t.Context(), fence); err != nil {
				t.Fatal(err)
			}
			if got := k.Describe(t.Context()).Write; got != publish.Granted {
				t.Errorf("topic, once granted: got %v", got)
			}
			if got, err := k.FenceRight(t.Context()); got != publish.Granted || err != nil {
				t.Errorf("transactional id, once granted: got %v, %v", got, err)
			}
		})
	}
}

func TestWhatCannotBeFoundOutIsNotTold(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	k := newProducer(t, c, publish.KafkaOptions{TransactionalID: fenced.TransactionalID, Limit: 300 * time.Millisecond})
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnsupportedVersion, Count: -1})
	if got, err := k.FenceRight(t.Context()); got != publish.NotTold || err != nil {
		t.Errorf("a broker with ways of its own: got %v, %v", got, err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: -1})
	if got, err := k.FenceRight(t.Context()); got != publish.NotTold || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "gave up") {
		t.Errorf("no coordinator: got %v, %v", got, err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	if got, err := k.TopicSettings(t.Context()); err == nil || got.MinInSync != 0 {
		t.Errorf("settings: got %+v, %v", got, err)
	}
	if got, err := k.FenceMemory(t.Context()); err == nil {
		t.Errorf("fence memory: got %s", got)
	}
}

// A worker is at work while somebody looks. It must not be fenced by that, nor may anything be written.
func TestLookingLeavesTheEpochAlone(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{Partitions: 2}, func(t *testing.T, c *cluster) {
		worker := startProducer(t, c, c.fenced())
		mustPublish(t, worker, versions("a"))
		var seen func() map[int16]int
		if !c.real() {
			seen = keysSeen(c)
		}
		looker := newProducer(t, c, c.fenced())
		for range 3 {
			if d := looker.Describe(t.Context()); !d.Reached() {
				t.Fatal("not reached")
			}
			if got, err := looker.FenceRight(t.Context()); got != publish.Granted || err != nil {
				t.Fatalf("got %v, %v", got, err)
			}
			if _, err := looker.TopicSettings(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := looker.FenceMemory(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if c.real() {
			// only the stand-in tells what it was asked
		} else if got := seen(); len(got) == 0 || got[int16(kmsg.InitProducerID)] != 0 || got[int16(kmsg.Produce)] != 0 || got[int16(kmsg.AddPartitionsToTxn)] != 0 {
			t.Errorf("requests by key: %v", got)
		}
		mustPublish(t, worker, versions("b")) // fails if the worker was fenced
	})
}

func TestCreateTopic(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		c.topic = unique()
		c.deleteAfter(t)
		k := newProducer(t, c, c.fenced())
		if d := k.Describe(t.Context()); !errors.Is(d.Topic, publish.ErrNoTopic) {
			t.Errorf("before: got %v", d.Topic)
		}
		if created, err := k.CreateTopic(t.Context(), 5, 1); !created || err != nil {
			t.Fatalf("got %v, %v", created, err)
		}
		s, err := k.TopicSettings(t.Context())
		if d := k.Describe(t.Context()); d.Topic != nil || len(d.Partitions) != 5 || err != nil || strings.Join(s.Cleanup, ",") != "compact" {
			t.Errorf("got %+v, %+v, %v", d, s, err)
		}
		if created, err := k.CreateTopic(t.Context(), 9, 1); created || err != nil {
			t.Errorf("again: got %v, %v", created, err)
		}
		if d := k.Describe(t.Context()); len(d.Partitions) != 5 {
			t.Errorf("it was changed: %+v", d.Partitions)
		}
	})
}
