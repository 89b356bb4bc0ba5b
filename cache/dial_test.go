package cache_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestDialTakesWhatDeploymentsHave(t *testing.T) {
	mini := miniredis.RunT(t)
	mini.RequireAuth("secret")
	mini.RequireUserAuth("someone", "their secret")
	tests := []struct {
		name, url string
		db        int
		warned    bool
	}{
		{"a password", "redis://:secret@" + mini.Addr(), 0, false},
		{"a user", "redis://someone:their%20secret@" + mini.Addr() + "/", 0, false},
		{"a database", "redis://:secret@" + mini.Addr() + "/3", 3, false},
		{"white space around it", " redis://:secret@" + mini.Addr() + "\n", 0, false},
		{"no scheme", ":secret@" + mini.Addr(), 0, false},
		{"a user that the server does not know", "redis://x:secret@" + mini.Addr() + "/3", 3, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var warnings []string
			client := dial(t, cache.Config{URL: test.url, Warn: func(message string) { warnings = append(warnings, message) }})
			r := cache.New(client, "d")
			for range 2 {
				lookup(t, r, 1) // a pipeline
				acquire(t, r, worker)
			}
			if mini.DB(test.db).HGet("slotsync:{d}:lease", "owner") != worker.Token {
				t.Errorf("the lease is not in database %d", test.db)
			}
			mini.FlushAll()
			if got := len(warnings) == 1; got != test.warned || len(warnings) > 1 {
				t.Errorf("warnings are %q, want one: %v", warnings, test.warned)
			}
			for _, w := range warnings {
				if strings.Contains(w, "secret") {
					t.Errorf("a warning tells a secret: %s", w)
				}
			}
		})
	}
}

func TestARefusedUserIsDroppedOnceForAll(t *testing.T) {
	mini := miniredis.RunT(t)
	mini.RequireAuth("secret")
	var mu sync.Mutex // guards warnings
	warnings := 0
	client := dial(t, cache.Config{URL: "redis://x:secret@" + mini.Addr(), Warn: func(string) {
		mu.Lock()
		defer mu.Unlock()
		warnings++
	}})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := client.Get(t.Context(), "nothing").Err(); !errors.Is(err, redis.Nil) {
				t.Errorf("got %v, want no such key", err)
			}
		})
	}
	all.Wait()
	if warnings != 1 {
		t.Errorf("warned %d times, want once", warnings)
	}
}

func TestAWrongPasswordIsAnError(t *testing.T) {
	mini := miniredis.RunT(t)
	mini.RequireAuth("secret")
	for _, url := range []string{"redis://:hunter2@" + mini.Addr(), "redis://x:hunter2@" + mini.Addr()} {
		_, err := cache.New(dial(t, cache.Config{URL: url}), "d").Acquire(t.Context(), worker, ttl)
		if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want WRONGPASS and not the password", err)
		}
	}
}

func TestDialOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	mini := miniredis.RunT(t)
	proxy(t, path, mini.Addr())
	acquire(t, cache.New(dial(t, cache.Config{URL: "unix://" + path}), "d"), worker)
}

// proxy lets one connection through from a unix socket to an address.
func proxy(t *testing.T, path, to string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var copies sync.WaitGroup
	copies.Go(func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		copies.Go(func() {
			defer far.Close()
			io.Copy(far, near)
		})
		io.Copy(near, far)
	})
	t.Cleanup(func() {
		l.Close()
		copies.Wait()
	})
}

func TestABadURLIsRefusedWithoutBeingQuoted(t *testing.T) {
	urls := []string{
		"", "redis://", "http://user:hunter2@host", "redis://:hunter2/x@host", "redis://:hunter2#x@host", "redis://:5#hunter2@host",
		"redis://:hunter2?x@host", "redis://host/hunter2", "redis://user:hun%zzter2@host", "redis://host?hunter2=1", "redis://host:hunter2",
		"redis://:hunter2 x@host", "unix://user:hunter2@",
	}
	for _, url := range urls {
		_, err := cache.Dial(cache.Config{URL: url})
		if err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("%q: got %v, want that it cannot be read", url, err)
			continue
		}
		for _, part := range []string{"hunter2", "ter2"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q: the error tells it: %v", url, err)
			}
		}
	}
}

// Those of a single server are the library's. With Sentinel and Cluster nothing would be made of them.
func TestAParameterThatWouldBeDroppedIsRefused(t *testing.T) {
	sentinel, cluster := cache.Sentinel{Master: "m", Addrs: []string{"a:1"}}, []string{"a:1"}
	for _, c := range []struct {
		config cache.Config
		taken  bool
	}{
		{cache.Config{URL: "redis://host?pool_size=3&protocol=2"}, true},
		{cache.Config{URL: "redis://host?pool_size=3", Sentinel: sentinel}, false},
		{cache.Config{URL: "redis://host?protocol=2", Cluster: cluster}, false},
		{cache.Config{URL: "rediss://host?skip_verify=true&db=3", Sentinel: sentinel}, true},
		{cache.Config{URL: "rediss://host?skip_verify=true", Cluster: cluster}, true},
	} {
		if err := c.config.CheckURL(); (err == nil) != c.taken {
			t.Errorf("%+v: got %v, want it taken: %v", c.config, err, c.taken)
		}
	}
}

func TestDialSpeaksTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hello := make(chan string, 10)
	var server sync.WaitGroup
	server.Go(func() {
		config := &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			hello <- fmt.Sprintf("%s %x", info.ServerName, slices.Min(info.SupportedVersions))
			return nil, errors.New("seen enough")
		}}
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = tls.Server(conn, config).Handshake()
			conn.Close()
		}
	})
	defer server.Wait()
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dialer := func(ctx context.Context, network, address string) (net.Conn, error) {
		d := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13}}
		return d.DialContext(ctx, network, address)
	}
	for _, c := range []struct {
		claim  string
		config cache.Config
		want   string
	}{
		{"with the name of the URL", cache.Config{URL: "rediss://localhost:" + port}, fmt.Sprintf("localhost %x", tls.VersionTLS12)},
		{"as somebody else does it", cache.Config{URL: "rediss://localhost:" + port, DialTLS: dialer}, fmt.Sprintf("localhost %x", tls.VersionTLS13)},
		{"with the name of a node", cache.Config{URL: "rediss://elsewhere", Cluster: []string{"localhost:" + port}}, fmt.Sprintf("localhost %x", tls.VersionTLS12)},
		{"with the name of a Sentinel", cache.Config{URL: "rediss://elsewhere", Sentinel: cache.Sentinel{Master: "m", Addrs: []string{"localhost:" + port}}}, fmt.Sprintf("localhost %x", tls.VersionTLS12)},
	} {
		if _, err := cache.New(dial(t, c.config), "d").Ends(t.Context()); err == nil {
			t.Errorf("%s: it answered without a certificate", c.claim)
		}
		if got := <-hello; got != c.want {
			t.Errorf("%s: got %q, want %q, the name and the oldest TLS that are offered", c.claim, got, c.want)
		}
		for len(hello) > 0 {
			<-hello
		}
	}
}

// calls is every call of a store that goes to the server.
var calls = append([]step{
	{"acquire", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return r.Acquire(t.Context(), shiftsync.Owner{Token: term.Owner}, ttl)
	}},
	{"release", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Release(t.Context(), shiftsync.Owner{Token: term.Owner})
	}},
	{"open", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		_, _, err := r.Open(t.Context(), 0)
		return nil, err
	}},
	{"lookup", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		return nil, r.Lookup(t.Context(), []shiftsync.Sighting{{ID: 1}}, make([]shiftsync.Known, 1))
	}},
	{"ends", false, func(t *testing.T, r *cache.Redis, term shiftsync.Term) (any, error) {
		_, err := r.Ends(t.Context())
		return nil, err
	}},
}, steps...)

func TestAServerThatHangsIsGivenUpInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // connections are taken by the kernel and nobody answers
	const timeout = 50 * time.Millisecond
	r := cache.New(dial(t, cache.Config{URL: l.Addr().String()}), "d", cache.Timeout(timeout))
	for _, call := range calls {
		began := time.Now()
		_, err := call.take(t, r, term)
		if took := time.Since(began); err == nil || took > 20*timeout {
			t.Errorf("%s: got %v after %v, want an error within about %v", call.name, err, took, timeout)
		}
	}

}

// More tries would keep a step from those who know how long it may take.
func TestACommandIsTriedTwiceAndNoMore(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tries := make(chan struct{}, 100)
	var server sync.WaitGroup
	server.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tries <- struct{}{}
			conn.Close()
		}
	})
	_, err = cache.New(dial(t, cache.Config{URL: l.Addr().String()}), "d").Ends(t.Context())
	l.Close()
	server.Wait()
	if got := len(tries); err == nil || got != 2 {
		t.Errorf("got %v after %d tries, want an error after 2", err, got)
	}
}

func TestAStepDoesNotWaitForTheOneBeforeLongerThanItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := cache.New(dial(t, cache.Config{URL: l.Addr().String()}), "d")

	stuck, free := context.WithCancel(t.Context())
	var claims sync.WaitGroup
	claims.Go(func() {
		if _, err := r.Claim(stuck, term); err == nil {
			t.Error("a server that hangs has answered")
		}
	})
	defer claims.Wait()
	defer free()
	conn, err := l.Accept() // the first is on its way now
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := r.Intend(short, term, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the context", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it waited for %v", took)
	}
}

func TestAServerThatIsAwayIsAnErrorSoonAndTheLibraryPrintsNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var said record
	redis.SetLogger(&said)
	r := cache.New(dial(t, cache.Config{URL: "redis://x:hunter2@" + address}), "d")
	for _, call := range calls {
		began := time.Now()
		_, err := call.take(t, r, term)
		if took := time.Since(began); err == nil || took > time.Second || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v after %v, want an error at once, without the password", call.name, err, took)
		}
		if errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("%s: who cannot ask does not know that the lease is lost: %v", call.name, err)
		}
	}
	if lines := said.all(); len(lines) > 0 {
		t.Errorf("it said %q", lines)
	}
}

// record is a logger for the library, which by default writes to stderr.
type record struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (r *record) Printf(_ context.Context, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines
}

func TestErrorsOfTheServerPassThrough(t *testing.T) {
	s := inProcess(t)
	r := prepared(t, s)
	before := s.dump(t)
	s.mini.SetError("OOM command not allowed when used memory > 'maxmemory'.")
	for _, call := range calls {
		_, err := call.take(t, r, term)
		if err == nil || !strings.Contains(err.Error(), "OOM") || errors.Is(err, shiftsync.ErrLeaseLost) {
			t.Errorf("%s: got %v, want the server's error", call.name, err)
		}
	}
	s.mini.SetError("")
	if after := s.dump(t); after != before {
		t.Errorf("it changed\n%sto\n%s", before, after)
	}
}

// What stands can be settled on a full server; only a real one can be made full in earnest.
func TestAStepIsTakenWholeOrNotAtAllWhenMemoryIsShort(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		for _, call := range calls {
			s.reset(t)
			r := prepared(t, s)
			if _, err := call.take(t, r, term); err != nil {
				t.Fatal(err)
			}
			whole := s.dump(t)

			s.reset(t)
			r = prepared(t, s)
			before := s.dump(t)
			s.shorten(t, "1")
			_, err := call.take(t, r, term)
			s.shorten(t, "0")
			got, want := s.dump(t), whole
			if err != nil {
				want = before
				if !strings.Contains(err.Error(), "OOM") {
					t.Errorf("%s: got %v, want OOM", call.name, err)
				}
				if s.mini == nil && call.name != "intend" && call.name != "refresh" {
					t.Errorf("%s needs memory: %v", call.name, err)
				}
			}
			if got != want {
				t.Errorf("%s: with error %v, got\n%swant\n%s", call.name, err, got, want)
			}
		}
	})
}

func TestWhatStandsIsTakenOverAndSettledOnAFullServer(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		r := prepared(t, s)
		if err := r.Release(t.Context(), worker); err != nil {
			t.Fatal(err)
		}
		if s.mini == nil {
			s.shorten(t, "1")
			defer s.shorten(t, "0")
		}
		next := shiftsync.Term{Owner: rival.Token, Claim: "claim-2"}
		acquire(t, r, rival)
		claim(t, r, next)
		var settled []shiftsync.Settled
		for id, in := range openIntents(t, r) {
			settled = append(settled, shiftsync.Settled{ID: id, Mark: in.Mark, Version: in.Version})
		}
		if open, err := r.Remember(t.Context(), next, settled); open != 0 || err != nil || len(settled) != 3 {
			t.Errorf("of %d intents %d are left, %v", len(settled), open, err)
		}
	})
}

// shorten sets the memory of the server, in bytes; 0 is no limit.
func (s *server) shorten(tb testing.TB, bytes string) {
	tb.Helper()
	if s.mini != nil {
		s.mini.SetError(map[string]string{"1": "OOM command not allowed", "0": ""}[bytes])
		return
	}
	s.each(tb, func(ctx context.Context, one redis.UniversalClient) error {
		return one.ConfigSet(ctx, "maxmemory", bytes).Err()
	})
}

func TestScriptsAreSentAgainToAServerThatForgotThem(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		for _, call := range calls {
			s.reset(t)
			r := prepared(t, s)
			s.each(t, func(ctx context.Context, one redis.UniversalClient) error { return one.ScriptFlush(ctx).Err() })
			if _, err := call.take(t, r, term); err != nil {
				t.Errorf("%s: %v", call.name, err)
			}
		}
	})
}
