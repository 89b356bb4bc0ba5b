package cache_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/cache/cachetest"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/sync/stacktest"
)

// Where the tests find the servers that withServers started: a URL, and a comma list of host:port.
const (
	serverURL    = "SLOTSYNC_TEST_REDIS"
	clusterAddrs = "SLOTSYNC_TEST_REDIS_CLUSTER"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(withServers{m},
		// After a server was away the pool dials once a second, and sees only then that it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// withServers runs the tests beside a Redis and a Redis Cluster of their own, if they are to meet real servers. That of the
// stack, which only says so, serves other packages at the same time and must not run short of memory.
type withServers struct{ *testing.M }

func (m withServers) Run() int {
	if os.Getenv(serverURL) == "" {
		return m.M.Run()
	}
	code, err := m.beside()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (m withServers) beside() (code int, err error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	one, err := cachetest.Start(dir)
	if err != nil {
		return 0, err
	}
	defer one.Close()
	nodes, err := cachetest.StartCluster(dir, 3)
	if err != nil {
		return 0, err
	}
	defer nodes.Close()
	os.Setenv(serverURL, "redis://"+one.Addr)
	os.Setenv(clusterAddrs, strings.Join(nodes.Addrs(), ","))
	return m.M.Run(), nil
}

// server is a Redis to test on: one inside the process or, beside a stack, a real one and a cluster.
type server struct {
	config      cache.Config
	client      redis.UniversalClient
	destination string
	mini        *miniredis.Miniredis // nil: a real server
}

func (s *server) store(options ...cache.Option) *cache.Redis {
	return cache.New(s.client, s.destination, options...)
}

func (s *server) key(name string) string { return "slotsync:{" + s.destination + "}:" + name }

func onEach(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { test(t, inProcess(t)) })
	t.Run("real", func(t *testing.T) { test(t, outside(t, cache.Config{URL: fromStack(t, serverURL)})) })
	t.Run("cluster", func(t *testing.T) {
		nodes := strings.Split(fromStack(t, clusterAddrs), ",")
		test(t, outside(t, cache.Config{URL: nodes[0], Cluster: nodes[:1]}))
	})
}

// fromStack is what the stack says of itself, without which the test is not run.
func fromStack(t *testing.T, variable string) string {
	t.Helper()
	return stacktest.Told(t, variable)
}

func inProcess(tb testing.TB) *server {
	tb.Helper()
	mini := miniredis.RunT(tb)
	config := cache.Config{URL: mini.Addr()}
	return &server{config, dial(tb, config), cache.Destination("cluster", "shifts", ""), mini}
}

// outside returns a destination of its own on a real server.
func outside(tb testing.TB, config cache.Config) *server {
	tb.Helper()
	s := &server{config: config, client: dial(tb, config), destination: cache.Destination("test", fmt.Sprintf("%x", rand.Uint64()), "")}
	tb.Cleanup(func() {
		for _, name := range []string{"lease", "shifts", "intents", "aside", "wanted", "layout", "ends", "swept", "missing", "called", "doubted", "letters"} {
			if err := s.client.Del(tb.Context(), s.key(name)).Err(); err != nil && tb.Context().Err() == nil {
				tb.Errorf("clean up: %v", err)
			}
		}
	})
	return s
}

// another returns a second client for the same server.
func (s *server) another(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	return dial(tb, s.config)
}

// each calls do for each server, of which a cluster has several.
func (s *server) each(tb testing.TB, do func(ctx context.Context, one redis.UniversalClient) error) {
	tb.Helper()
	ctx, err := context.WithoutCancel(tb.Context()), error(nil) // it may be for a cleanup
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error { return do(ctx, one) })
	} else {
		err = do(ctx, s.client)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func dial(tb testing.TB, c cache.Config) redis.UniversalClient {
	tb.Helper()
	client, err := cache.Dial(c)
	if err != nil {
		tb.Fatalf("dial: %v", err)
	}
	tb.Cleanup(func() { client.Close() })
	return client
}

var (
	worker = shiftsync.Owner{Token: "token-1", Name: "host-1/100"}
	rival  = shiftsync.Owner{Token: "token-2", Name: "host-2/200"}
	term   = shiftsync.Term{Owner: worker.Token, Claim: "claim-1"}
)

const ttl = 12 * time.Second

// atWork returns a store whose worker holds the lease and has made its claim.
func (s *server) atWork(tb testing.TB, options ...cache.Option) *cache.Redis {
	tb.Helper()
	r := s.store(options...)
	acquire(tb, r, worker)
	claim(tb, r, term)
	return r
}

// longAgo is when a store was swept in which a sweep is due.
const longAgo = 1

// sweptLongAgo makes a sweep due.
func (s *server) sweptLongAgo(tb testing.TB) {
	tb.Helper()
	if err := s.client.Set(tb.Context(), s.key("swept"), longAgo, 0).Err(); err != nil {
		tb.Fatal(err)
	}
}

func acquire(tb testing.TB, r *cache.Redis, owner shiftsync.Owner) {
	tb.Helper()
	if found, err := r.Acquire(tb.Context(), owner, ttl); found.Holder != "" || err != nil {
		tb.Fatalf("acquire: got %+v, %v", found, err)
	}
}

func claim(tb testing.TB, r *cache.Redis, next shiftsync.Term) (open int) {
	tb.Helper()
	return must(tb)(r.Claim(tb.Context(), next))
}

func must(tb testing.TB) func(n int, err error) int {
	return func(n int, err error) int {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
}

// version returns the version number n of any shift. Its hashes hold bytes that a text protocol could trip over.
func version(n uint64) shiftsync.Version {
	v := shiftsync.Version{
		Schema:    shiftsync.SchemaID(n),
		Raw:       n<<32 | 0x000d0aff,
		UpdatedAt: time.Unix(1_500_000_000+int64(n), 0).UTC(),
		EndTime:   time.Unix(1_600_000_000+int64(n), 0).UTC(),
		StartTime: time.Unix(1_599_990_000+int64(n), 0).UTC(),
	}
	copy(v.Fingerprint[:], fmt.Sprintf("%c\r\n\x00%c$-1", rune(n), rune(n)))
	return v
}

func intent(id int64, mark, n uint64) shiftsync.Intent {
	return shiftsync.Intent{
		Mark: mark,
		Record: shiftsync.Record{
			ID:      id,
			Key:     fmt.Appendf(nil, "\x00\x00\r\n\xffkey of %d", id),
			Value:   fmt.Appendf(nil, "\x00\x00\r\n\xffvalue of %d, version %d", id, n),
			Version: version(n),
		},
	}
}

func acknowledged(id int64, mark, n uint64) shiftsync.Settled {
	return shiftsync.Settled{ID: id, Mark: mark, Version: version(n), Partition: 3, Offset: int64(n)}
}

func aside(id int64, mark, n uint64) shiftsync.Settled {
	return shiftsync.Settled{ID: id, Mark: mark, Version: version(n), Aside: "no start time"}
}

func intend(tb testing.TB, r *cache.Redis, intents ...shiftsync.Intent) (open int) {
	tb.Helper()
	return must(tb)(r.Intend(tb.Context(), term, intents))
}

func remember(tb testing.TB, r *cache.Redis, settled ...shiftsync.Settled) (open int) {
	tb.Helper()
	return must(tb)(r.Remember(tb.Context(), term, settled))
}

// publish takes one shift through the protocol.
func publish(tb testing.TB, r *cache.Redis, id int64, n uint64) {
	tb.Helper()
	intend(tb, r, intent(id, n, n))
	remember(tb, r, acknowledged(id, n, n))
}

func lookup(tb testing.TB, r *cache.Redis, ids ...int64) []shiftsync.Known {
	tb.Helper()
	sightings := make([]shiftsync.Sighting, len(ids))
	for i, id := range ids {
		sightings[i].ID = id
	}
	return look(tb, r, sightings)
}

func look(tb testing.TB, r *cache.Redis, sightings []shiftsync.Sighting) []shiftsync.Known {
	tb.Helper()
	into := make([]shiftsync.Known, len(sightings))
	for i := range into {
		into[i] = shiftsync.Known{Pending: true, Aside: 1, Remembered: true, Stale: true} // what an earlier batch left
	}
	if err := r.Lookup(tb.Context(), sightings, into); err != nil {
		tb.Fatal(err)
	}
	return into
}

func known(n uint64) shiftsync.Known {
	return shiftsync.Known{Remembered: true, Version: version(n), Partition: 3, Offset: int64(n)}
}

func openIntents(tb testing.TB, r *cache.Redis) map[int64]shiftsync.Intent {
	tb.Helper()
	all := map[int64]shiftsync.Intent{}
	for cursor := uint64(0); ; {
		page, next, err := r.Open(tb.Context(), cursor)
		if err != nil {
			tb.Fatal(err)
		}
		if len(page) == 0 && next != 0 {
			tb.Error("an empty page that is not the last")
		}
		for _, in := range page {
			all[in.ID] = in
		}
		if next == 0 {
			return all
		}
		cursor = next
	}
}

// dump returns what is in the server, save the number of the last step and the times, which repetition may move.
func (s *server) dump(tb testing.TB) string {
	tb.Helper()
	var b strings.Builder
	for name, times := range map[string]int{"lease": 0, "shifts": 8, "intents": 0, "aside": 4, "wanted": 0, "layout": 0, "ends": 0, "missing": 4, "doubted": 4, "letters": 0} {
		fields, err := s.client.HGetAll(tb.Context(), s.key(name)).Result()
		if err != nil {
			tb.Fatal(err)
		}
		delete(fields, "step")
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			fmt.Fprintf(&b, "%s %s %q\n", name, field, fields[field][:len(fields[field])-times])
		}
	}
	lines := strings.SplitAfter(b.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// age makes what a hash holds look older, since the clock of a real server cannot be moved. The last four bytes of a
// value say when it was last seen.
func (s *server) age(tb testing.TB, hash string, field string, by time.Duration) {
	tb.Helper()
	value, err := s.client.HGet(tb.Context(), s.key(hash), field).Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	seen := uint32(0)
	for _, b := range value[len(value)-4:] {
		seen = seen<<8 | uint32(b)
	}
	seen -= uint32(by / time.Second)
	copy(value[len(value)-4:], []byte{byte(seen >> 24), byte(seen >> 16), byte(seen >> 8), byte(seen)})
	if err := s.client.HSet(tb.Context(), s.key(hash), field, value).Err(); err != nil {
		tb.Fatal(err)
	}
}

// reset empties the destination.
func (s *server) reset(tb testing.TB) {
	tb.Helper()
	for _, name := range []string{"lease", "shifts", "intents", "aside", "wanted", "layout", "ends", "swept", "missing", "called", "doubted", "letters"} {
		if err := s.client.Del(tb.Context(), s.key(name)).Err(); err != nil {
			tb.Fatal(err)
		}
	}
}
