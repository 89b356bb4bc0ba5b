package cache_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
)

func TestAnErrorOfTheServerSaysWhereAndWhatToDo(t *testing.T) {
	s := inProcess(t)
	r := prepared(t, s)
	const where = "redis at 127.0.0.1:"
	for _, test := range []struct{ name, says, want string }{
		{"no password", "NOAUTH Authentication required.", "user and password stand in REDIS_HOST"},
		{"a wrong password", "WRONGPASS invalid username-password pair or user is disabled.", "user and password stand in REDIS_HOST"},
		{"a wrong password, in the words of old servers", "ERR invalid password", "user and password stand in REDIS_HOST"},
		{"no right", "NOPERM this user has no permissions to run the 'evalsha' command", "the user of REDIS_HOST needs the right"},
		{"full", "OOM command not allowed when used memory > 'maxmemory'.", "Redis is full: raise its maxmemory"},
		{"too few replicas", "NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"},
		{"a single server for a cluster", "ERR This instance has cluster support disabled", "name it in REDIS_HOST instead of REDIS_CLUSTER_ADDRS"},
		{"just started", "LOADING Redis is loading the dataset in memory", "this passes"},
		{"no disk", "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "its log says why"},
		{"too many clients", "ERR max number of clients reached", "maxclients"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.mini.SetError(test.says)
			defer s.mini.SetError("")
			for _, call := range calls {
				_, err := call.take(t, r, term)
				if got := text(err); !strings.Contains(got, where) || !strings.Contains(got, strings.TrimSuffix(test.says, ".")+"; ") || !strings.Contains(got, test.want) {
					t.Errorf("%s: got %q, want %q, the server's words and %q", call.name, got, where, test.want)
				}
				var answer redis.Error
				if !errors.As(err, &answer) {
					t.Errorf("%s: the server's error is lost in %v", call.name, err)
				}
			}
		})
	}
}

// What a server says of its role means something else by the way in which it was found.
func TestWhatToDoAboutARoleHangsOnHowTheServerIsFound(t *testing.T) {
	for kind, config := range map[string]func(t *testing.T, address string) cache.Config{
		"single": func(_ *testing.T, address string) cache.Config { return cache.Config{URL: address} },
		"sentinel": func(t *testing.T, address string) cache.Config {
			return watchedBy("redis://nowhere", startFakeSentinel(t, address))
		},
		"cluster": func(_ *testing.T, address string) cache.Config {
			return cache.Config{URL: "redis://nowhere", Cluster: []string{address}}
		},
	} {
		for _, c := range []struct {
			claim, says string
			want        map[string]string
		}{
			{"a replica", "READONLY You can't write against a read only replica.", map[string]string{
				"single": "REDIS_HOST has to name its master", "sentinel": "it passes when Sentinel has made another one", "cluster": "it passes when all know of the new one"}},
			{"a replica without its master", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", map[string]string{
				"single": "REDIS_HOST has to name a master", "sentinel": "it passes when Sentinel has made one", "cluster": "it passes when there is one"}},
			{"a node that does not keep it", "MOVED 3999 %s", map[string]string{
				"single": "name it in REDIS_CLUSTER_ADDRS", "sentinel": "name them in REDIS_CLUSTER_ADDRS", "cluster": "the nodes do not agree"}},
			{"keys on their way", "ASK 3999 %s", map[string]string{
				"single": "it passes when that is done", "sentinel": "it passes when that is done", "cluster": "it passes when that is done"}},
			{"keys of which some are on their way", "TRYAGAIN Multiple keys request during rehashing of slot", map[string]string{
				"single": "it passes when that is done", "sentinel": "it passes when that is done", "cluster": "it passes when that is done"}},
			{"a part that nobody keeps", "CLUSTERDOWN Hash slot not served", map[string]string{
				"single": "name it in REDIS_CLUSTER_ADDRS", "sentinel": "name them in REDIS_CLUSTER_ADDRS", "cluster": "a part of the cluster has no master"}},
			{"too few replicas", "NOREPLICAS Not enough good replicas to write.", map[string]string{
				"single": "min-replicas-to-write", "sentinel": "min-replicas-to-write", "cluster": "min-replicas-to-write"}},
		} {
			mini := miniredis.RunT(t)
			r := cache.New(dial(t, config(t, mini.Addr())), "d")
			acquire(t, r, worker)
			mini.SetError(strings.Replace(c.says, "%s", mini.Addr(), 1))
			_, err := r.Acquire(t.Context(), worker, ttl)
			var told *cache.ServerError
			if !errors.As(err, &told) || !told.Answered || !strings.Contains(told.Advice, c.want[kind]) {
				t.Errorf("%s, %s: got %v, want %q", kind, c.claim, err, c.want[kind])
			}
			if want := strings.TrimSuffix(told.Trouble(), ".") + "; " + told.Advice; want != told.Error() || strings.Contains(told.Trouble(), told.Advice) {
				t.Errorf("%s, %s: the trouble is %q and the advice %q, and together they are %q", kind, c.claim, told.Trouble(), told.Advice, told.Error())
			}
		}
	}
}

func TestAnUnknownCommandDoesNotBringOurDataIntoTheLog(t *testing.T) {
	s := inProcess(t)
	r := prepared(t, s)
	s.mini.SetError("ERR unknown command 'EVALSHA', with args beginning with: '1f' 'hunter2' ")
	_, err := r.Acquire(t.Context(), worker, ttl)
	if got := text(err); !strings.HasSuffix(got, ": ERR unknown command 'EVALSHA'") {
		t.Errorf("got %q, want it without arguments", got)
	}
}

func TestAServerThatIsAwayIsNamedWithTheSetting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	r := cache.New(dial(t, cache.Config{URL: "redis://x:hunter2@" + address}), "d")
	_, err = r.Acquire(t.Context(), worker, ttl)
	want := "redis at " + address + ": dial tcp " + address + ": connect: connection refused; is REDIS_HOST right, and Redis up?"
	if got := text(err); got != want || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := cache.Stranded(t.Context(), dial(t, cache.Config{URL: address}), "c", "t", ""); !strings.Contains(text(err), "is REDIS_HOST right") {
		t.Errorf("stranded: got %v, want the setting in it", err)
	}
}

func TestATimeoutNamesTheServerAndAStopIsNoFault(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // connections are taken by the kernel and nobody answers
	address := l.Addr().String()
	r := cache.New(dial(t, cache.Config{URL: address}), "d", cache.Timeout(20*time.Millisecond))
	_, err = r.Acquire(t.Context(), worker, ttl)
	if got := text(err); !strings.HasPrefix(got, "redis at "+address+": ") || !strings.Contains(got, "no answer in time: is REDIS_HOST right") {
		t.Errorf("got %s, want the address and advice", got)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_, err = r.Acquire(stopped, worker, ttl)
	if !errors.Is(err, context.Canceled) || strings.Contains(text(err), "REDIS_HOST") {
		t.Errorf("got %v, want the end of the context and no advice", err)
	}
}
