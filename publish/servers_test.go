package publish_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/sync/stacktest"
)

// onEachKafka runs the test on a cluster inside the process and, under make test-stack, on a real one. Where they do
// not do the same, the test asks which one it has.
func onEachKafka(t *testing.T, o publishtest.KafkaOptions, test func(t *testing.T, c *cluster)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		test(t, startKafka(t, o))
	})
	t.Run("real", func(t *testing.T) {
		addrs := strings.Split(fromStack(t, "SLOTSYNC_TEST_KAFKA"), ",")
		t.Parallel()
		c := &cluster{Addrs: addrs, topic: unique()}
		if err := publishtest.CreateTopic(t.Context(), c.Addrs, c.topic, max(o.Partitions, 1), o.TopicSettings); err != nil {
			t.Fatal(err)
		}
		c.deleteAfter(t)
		test(t, c)
	})
}

func (c *cluster) real() bool { return c.Kafka == nil }

// fenced are the options of a producer that shares its transactional id with the test's other ones only.
func (c *cluster) fenced() publish.KafkaOptions {
	return publish.KafkaOptions{TransactionalID: "slotsync-" + c.topic}
}

func (c *cluster) deleteAfter(t *testing.T) {
	t.Helper()
	addrs, topic := c.Addrs, c.topic
	t.Cleanup(func() {
		if err := publishtest.DeleteTopic(context.WithoutCancel(t.Context()), addrs, topic); err != nil {
			t.Error(err)
		}
	})
}

// registry is one to test on.
type registry struct {
	*publish.Registry
	admin *sr.Client
	fake  *srfake.Registry // nil: a real one
}

// onEachRegistry is what onEachKafka is, for registries. The subjects are the test's own, and stay: Apicurio may lose a
// schema while a test registers it if another one deletes its like.
func onEachRegistry(t *testing.T, test func(t *testing.T, r *registry, subject func(name string) string)) {
	t.Helper()
	run := func(t *testing.T, address string, fake *srfake.Registry) {
		client, err := publish.NewRegistry(address, publish.RegistryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		admin, err := sr.NewClient(sr.URLs(address))
		if err != nil {
			t.Fatal(err)
		}
		prefix := unique()
		test(t, &registry{client, admin, fake}, func(name string) string { return prefix + name })
	}
	t.Run("srfake", func(t *testing.T) {
		t.Parallel()
		fake := srfake.New()
		t.Cleanup(fake.Close)
		run(t, fake.URL(), fake)
	})
	t.Run("real", func(t *testing.T) {
		address := fromStack(t, "SLOTSYNC_TEST_REGISTRY")
		t.Parallel()
		run(t, address, nil)
	})
}

// unique is a name that nothing has on a server that outlasts the test.
func unique() string { return fmt.Sprintf("test-%x-", rand.Uint64()) }

// fromStack is what the stack says of itself, without which the test is not run.
func fromStack(t *testing.T, variable string) string {
	t.Helper()
	return stacktest.Told(t, variable)
}
