package cache_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/cache/cachetest"
)

func startFakeSentinel(t *testing.T, master string) *cachetest.FakeSentinel {
	t.Helper()
	s, err := cachetest.StartFakeSentinel(master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// watchedBy is the configuration of who finds the master by these Sentinels.
func watchedBy(url string, sentinels ...*cachetest.FakeSentinel) cache.Config {
	c := cache.Config{URL: url, Sentinel: cache.Sentinel{Master: cachetest.MasterName}}
	for _, s := range sentinels {
		c.Sentinel.Addrs = append(c.Sentinel.Addrs, s.Addr)
	}
	return c
}

func TestTheMasterIsAskedAsTheURLSays(t *testing.T) {
	mini := miniredis.RunT(t)
	mini.RequireUserAuth("someone", "secret")
	mini.RequireAuth("another secret")
	r := cache.New(dial(t, watchedBy("redis://someone:secret@nowhere/3", startFakeSentinel(t, mini.Addr()))), "d")
	lookup(t, r, 1) // a pipeline
	acquire(t, r, worker)
	if got := mini.DB(3).HGet("slotsync:{d}:lease", "owner"); got != worker.Token {
		t.Errorf("got %q as the owner in database 3, want %q", got, worker.Token)
	}
}

// Sentinels have little time, because there may be others to ask. A master has as much as any server.
func TestAMasterHasMoreTimeForADialThanASentinel(t *testing.T) {
	sentinel := startFakeSentinel(t, "127.0.0.1:1")
	var mu sync.Mutex // guards left
	left := map[string]time.Duration{}
	c := watchedBy("rediss://nowhere", sentinel)
	c.DialTLS = func(ctx context.Context, network, address string) (net.Conn, error) {
		end, ends := ctx.Deadline()
		mu.Lock()
		defer mu.Unlock()
		if _, known := left[address]; !known && ends {
			left[address] = time.Until(end)
		}
		if address != sentinel.Addr {
			return nil, errors.New("enough is seen")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	if _, err := cache.New(dial(t, c), "d").Acquire(t.Context(), worker, ttl); err == nil {
		t.Fatal("there is no master, and it answered")
	}
	mu.Lock()
	defer mu.Unlock()
	if got := left[sentinel.Addr]; got <= 0 || got > 400*time.Millisecond {
		t.Errorf("a Sentinel has %s, want 400 ms at most", got)
	}
	// Of its two seconds, asking the Sentinel has taken some.
	if got := left["127.0.0.1:1"]; got < 1200*time.Millisecond || got > 2*time.Second {
		t.Errorf("the master has %s, want two seconds less what the Sentinel took", got)
	}
}

// A Sentinel that is at fault is asked once by each of the two tries that a command has: others may know better.
func TestASentinelIsNotAskedAgainInOneDial(t *testing.T) {
	sentinel := startFakeSentinel(t, "127.0.0.1:1")
	sentinel.HangUp()
	if _, err := cache.New(dial(t, watchedBy("redis://nowhere", sentinel)), "d").Acquire(t.Context(), worker, ttl); err == nil {
		t.Fatal("there is no master, and it answered")
	}
	if got := sentinel.Asked(); got != 2 {
		t.Errorf("it was asked %d times, want 2", got)
	}
}

func TestTroubleOnTheWayToAMasterIsToldApart(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections, and hangs
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, c := range []struct{ claim, master, want string }{
		{"nobody is there", "127.0.0.1:1", "redis at mymaster: dial tcp 127.0.0.1:1: connect: connection refused; the Sentinels answer and name this master, which does not"},
		{"it hangs", plain.Addr().String(), "the Sentinels answer and name this master, which does not"},
		{"they know none", "", "redis at mymaster: the Sentinels know no master of that name; REDIS_SENTINEL_MASTER has to be"},
	} {
		r := cache.New(dial(t, watchedBy("redis://nowhere", startFakeSentinel(t, c.master), startFakeSentinel(t, c.master))), "d")
		_, err := r.Acquire(t.Context(), worker, ttl)
		if got := text(err); !strings.Contains(got, c.want) || strings.Contains(got, "nil") || strings.Contains(got, "unreachable") {
			t.Errorf("%s: got %q, want %q in it", c.claim, got, c.want)
		}
	}
}
