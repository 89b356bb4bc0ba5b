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
	miniserver "github.com/alicebob/miniredis/v2/server"

	"github.com/slotsync/slotsync/cache"
)

// fakeSentinel tells of a master as a Sentinel does, and of nothing else.
type fakeSentinel struct {
	addr string

	mu     sync.Mutex // guards all below
	master string     // host:port; empty: none of that name
	hangUp bool       // when it is asked
	asked  int
}

const watchedName = "mymaster"

func startFakeSentinel(t *testing.T, master string) *fakeSentinel {
	t.Helper()
	server, err := miniserver.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := &fakeSentinel{addr: server.Addr().String(), master: master}
	for command, do := range map[string]miniserver.Cmd{
		"PING": func(c *miniserver.Peer, _ string, _ []string) { c.WriteInline("PONG") },
		"SUBSCRIBE": func(c *miniserver.Peer, _ string, channels []string) {
			for i, channel := range channels {
				c.WriteLen(3)
				c.WriteBulk("subscribe")
				c.WriteBulk(channel)
				c.WriteInt(i + 1)
			}
		},
		"SENTINEL": s.answer,
	} {
		if err := server.Register(command, do); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *fakeSentinel) answer(c *miniserver.Peer, _ string, args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if args[0] != "get-master-addr-by-name" {
		c.WriteLen(0) // it knows no other Sentinel
		return
	}
	s.asked++
	host, port, err := net.SplitHostPort(s.master)
	switch {
	case s.hangUp:
		c.Close()
	case err != nil || args[1] != watchedName:
		c.WriteNull()
	default:
		c.WriteStrings([]string{host, port})
	}
}

func (s *fakeSentinel) names(master string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.master = master
}

// watchedBy is the configuration of who finds the master by these Sentinels.
func watchedBy(url string, sentinels ...*fakeSentinel) cache.Config {
	c := cache.Config{URL: url, Sentinel: cache.Sentinel{Master: watchedName}}
	for _, s := range sentinels {
		c.Sentinel.Addrs = append(c.Sentinel.Addrs, s.addr)
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
		if address != sentinel.addr {
			return nil, errors.New("enough is seen")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	if _, err := cache.New(dial(t, c), "d").Acquire(t.Context(), worker, ttl); err == nil {
		t.Fatal("there is no master, and it answered")
	}
	mu.Lock()
	defer mu.Unlock()
	if got := left[sentinel.addr]; got <= 0 || got > 400*time.Millisecond {
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
	sentinel.hangUp = true
	if _, err := cache.New(dial(t, watchedBy("redis://nowhere", sentinel)), "d").Acquire(t.Context(), worker, ttl); err == nil {
		t.Fatal("there is no master, and it answered")
	}
	sentinel.mu.Lock()
	defer sentinel.mu.Unlock()
	if sentinel.asked != 2 {
		t.Errorf("it was asked %d times, want 2", sentinel.asked)
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
