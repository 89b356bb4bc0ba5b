package publish_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
)

// countedConns dials, and counts what is open.
type countedConns struct {
	mu   sync.Mutex // guards open
	open int
	none chan struct{} // gets an element when the last one ends
}

func (c *countedConns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.add(1)
	return &countedConn{Conn: conn, of: c}, nil
}

func (c *countedConns) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	if c.open == 0 {
		select {
		case c.none <- struct{}{}:
		default:
		}
	}
}

type countedConn struct {
	net.Conn
	of   *countedConns
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.of.add(-1) })
	return c.Conn.Close()
}

// A standby may wait for weeks, and brokers have better things to do than to answer it.
func TestWhileItRestsTheBrokerIsAskedForNothing(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]func(t *testing.T, k *publish.Kafka){
		"after the cluster's id was asked for": func(t *testing.T, k *publish.Kafka) {
			if id, err := k.ClusterID(t.Context()); id == "" || err != nil {
				t.Fatalf("cluster id %q, error %v", id, err)
			}
		},
		"after work": func(t *testing.T, k *publish.Kafka) {
			if err := k.Begin(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			mustPublish(t, k, versions("before"))
			k.Rest()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startKafka(t, publishtest.KafkaOptions{Brokers: 3, Partitions: 3})
			conns := &countedConns{none: make(chan struct{}, 1)}
			k := newProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Dial: conns.dial})
			rest(t, k)
			within(t, "end of the connections", conns.none)

			var asked atomic.Int64
			c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
				asked.Add(1)
				return nil, nil, false
			})
			<-time.After(5 * time.Second) // the library asks for news every two seconds
			conns.mu.Lock()
			open := conns.open
			conns.mu.Unlock()
			if n := asked.Load(); n != 0 || open != 0 {
				t.Errorf("asked %d times over %d connections, want none", n, open)
			}

			if err := k.Begin(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			mustPublish(t, k, versions("after"))
			if asked.Load() == 0 {
				t.Error("no request was counted, so the test shows nothing")
			}
		})
	}
}

func TestARestDoesNotDisturbWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	proxy := publishtest.NewProxy()
	t.Cleanup(proxy.Close)
	k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Dial: proxy.Dial})
	held := proxy.Catch(publishtest.Answer, int16(kmsg.Produce), 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := k.Publish(t.Context(), &right{}, "pass", versions("a")); err != nil {
			t.Errorf("publish: %v", err)
		}
	}()
	within(t, "answer held back", held.Caught())
	k.Rest()
	held.Release()
	within(t, "publish", done)
	mustPublish(t, k, versions("b"))
	wantLog(t, c, "a", "b")
}
