package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/sync/stacktest"
)

// servers stand around a worker and are reached as everybody reaches them, so that they may be stand-ins or real ones.
type servers struct {
	brokers  []string
	registry string // URL
	redis    string // URL, of a database that nobody else uses
}

// inWorld are the stand-ins of a world.
func inWorld(w *world.World) servers {
	return servers{w.Kafka.Addrs, w.Registry.URL(), "redis://" + w.Redis.Addr()}
}

// inStack are the real ones that make test-stack starts.
func inStack(t *testing.T) servers {
	t.Helper()
	return servers{
		brokers:  strings.Split(fromStack(t, "SLOTSYNC_TEST_KAFKA"), ","),
		registry: fromStack(t, "SLOTSYNC_TEST_REGISTRY"),
		redis:    fromStack(t, "SLOTSYNC_TEST_REDIS") + "/9",
	}
}

// fromStack is what the stack says of itself, without which the test is not run.
func fromStack(t *testing.T, variable string) string {
	t.Helper()
	return stacktest.Told(t, variable)
}

// onEach runs the test in a world of stand-ins, and in one whose servers are real but for the API.
func onEach(t *testing.T, shifts int, test func(t *testing.T, w *world.World, s servers)) {
	t.Helper()
	t.Run("stand-ins", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: shifts})
		test(t, w, inWorld(w))
	})
	t.Run("real", func(t *testing.T) {
		s := inStack(t)
		test(t, start(t, world.Options{Shifts: shifts}), s)
	})
}

// empty makes the servers forget what the test is about, now and after it: real ones outlast it.
func (s servers) empty(t *testing.T, topic string, subjects ...string) {
	t.Helper()
	forget := func() {
		ctx := context.WithoutCancel(t.Context())
		if err := publishtest.DeleteTopic(ctx, s.brokers, topic); err != nil {
			t.Error(err)
		}
		if err := s.redisClient(t).FlushDB(ctx).Err(); err != nil {
			t.Error(err)
		}
	}
	forget()
	t.Cleanup(forget)
	s.forget(t, subjects...)
}

// forget deletes subjects, now and after the test.
func (s servers) forget(t *testing.T, subjects ...string) {
	t.Helper()
	registry := s.registryClient(t)
	forget := func() {
		for _, subject := range subjects {
			for _, how := range []sr.DeleteHow{sr.SoftDelete, sr.HardDelete} {
				var refused *sr.ResponseError
				if _, err := registry.DeleteSubject(context.WithoutCancel(t.Context()), subject, how); err != nil && !(errors.As(err, &refused) && refused.StatusCode == 404) {
					t.Errorf("delete subject %s: %v", subject, err)
				}
			}
		}
	}
	forget()
	t.Cleanup(forget)
}

func (s servers) registryClient(t *testing.T) *sr.Client {
	t.Helper()
	c, err := sr.NewClient(sr.URLs(s.registry))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s servers) redisClient(t *testing.T) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(s.redis)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// versions returns the schemas of a subject, the oldest first.
func (s servers) versions(t *testing.T, subject string) []sr.SubjectSchema {
	t.Helper()
	c := s.registryClient(t)
	numbers, err := c.SubjectVersions(t.Context(), subject)
	if err != nil {
		t.Fatalf("versions of %s: %v", subject, err)
	}
	var all []sr.SubjectSchema
	for _, n := range numbers {
		one, err := c.SchemaByVersion(t.Context(), subject, n)
		if err != nil {
			t.Fatalf("version %d of %s: %v", n, subject, err)
		}
		all = append(all, one)
	}
	return all
}
