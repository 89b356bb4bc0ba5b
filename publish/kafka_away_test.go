package publish_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
)

func TestBrokersThatAreAwayAreGivenUpEarlyAndNamed(t *testing.T) {
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"refusing": func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		},
		"silent": func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"mute": func(ctx context.Context, _, _ string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			context.AfterFunc(ctx, func() { theirs.Close() })
			return ours, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for call, do := range map[string]func(*publish.Kafka) error{
					"topic":      func(k *publish.Kafka) error { _, err := k.Topic(t.Context()); return err },
					"cluster id": func(k *publish.Kafka) error { _, err := k.ClusterID(t.Context()); return err },
					"begin":      func(k *publish.Kafka) error { return k.Begin(t.Context(), true) },
				} {
					k, err := publish.NewKafka([]string{"one:9092", "two:9092"}, topic, publish.KafkaOptions{Dial: dial})
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					err = do(k)
					if took := time.Since(began); err == nil || took > 5*time.Second {
						t.Errorf("%s: got %v after %s, want an error within 5 s", call, err, took)
					}
					for _, want := range []string{"kafka: ", "is KAFKA_BROKERS (one:9092,two:9092) right"} {
						if err == nil || strings.Count(err.Error(), want) != 1 || strings.Contains(err.Error(), "\n") {
							t.Errorf("%s: got %q, want one line with %q in it once", call, err, want)
						}
					}
					if err := k.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestABrokerThatCannotBeReachedWhereItSaysIsNamedSo(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	first := true
	k := newProducer(t, c, publish.KafkaOptions{Limit: 500 * time.Millisecond, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if first { // the bootstrap connection
			first = false
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.EHOSTUNREACH}
	}})
	if _, err := k.Topic(t.Context()); !errors.Is(err, syscall.EHOSTUNREACH) || !strings.Contains(err.Error(), "advertised.listeners") {
		t.Errorf("got %v, want what was dialled and where its address comes from", err)
	}
}

func TestWhoeverIsFencedIsToldWhere(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	k := startProducer(t, c, fenced)
	c.Fault(fault(kerr.ProducerFenced, 1))
	_, err := k.Publish(t.Context(), &right{}, "pass", versions("a"))
	_, again := k.Publish(t.Context(), &right{}, "pass", versions("a"))
	begin := k.Begin(t.Context(), true)
	if begin != nil {
		t.Fatal(begin)
	}
	for _, err := range []error{err, again} {
		for _, want := range []string{`transactional id "slotsync-shifts"`, "share one Redis (REDIS_HOST)", "SYNC_NAME"} {
			if err == nil || strings.Count(err.Error(), want) != 1 {
				t.Errorf("got %v, want %q in it once", err, want)
			}
		}
	}
}

func TestARegistryThatIsAwayIsNamedWithItsSettings(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	r, err := publish.NewRegistry("http://user:hunter2@"+address, publish.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Latest(t.Context(), "s")
	for _, want := range []string{address, "connection refused", "is AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL (or SCHEMA_REGISTRY_URL) right"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q in it and no password", err, want)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := r.Latest(stopped, "s"); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "SCHEMA_REGISTRY_URL") {
		t.Errorf("got %v, want the end of the context and no advice", err)
	}
}

// The library calls a connection that broke an unexpected error of the server.
func TestALogEndIsAskedForAgainWhenItsConnectionBreaks(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{Brokers: 3, Partitions: 3})
	proxy := publishtest.NewProxy()
	t.Cleanup(proxy.Close)
	k := newProducer(t, c, publish.KafkaOptions{Dial: proxy.Dial})
	const listOffsets = 2
	lost := proxy.Catch(publishtest.Answer, listOffsets, 1)
	asked := make(chan error, 1)
	go func() {
		_, err := k.Topic(t.Context())
		asked <- err
	}()
	<-lost.Caught()
	lost.Drop()
	if err := <-asked; err != nil {
		t.Errorf("got %v, want the question repeated", err)
	}
}
