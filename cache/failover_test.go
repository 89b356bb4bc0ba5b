//go:build unix

package cache_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/cache/cachetest"
)

// watched is a master with a replica, and three Sentinels.
type watched struct {
	master, replica *cachetest.Server
	sentinels       cachetest.Group
}

func startWatched(t *testing.T) *watched {
	t.Helper()
	fromStack(t, serverURL) // whoever has a stack has what it takes to start one more
	w, dir := &watched{}, t.TempDir()
	var err error
	keep := func(g ...*cachetest.Server) {
		t.Helper()
		for _, s := range g {
			if s != nil {
				t.Cleanup(s.Close)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.master, err = cachetest.Start(dir)
	keep(w.master)
	w.replica, err = cachetest.StartReplica(dir, w.master)
	keep(w.replica)
	w.sentinels, err = cachetest.StartSentinels(dir, w.master, 3)
	keep(w.sentinels...)
	return w
}

func (w *watched) config() cache.Config {
	return cache.Config{URL: "redis://nowhere", Sentinel: cache.Sentinel{Master: cachetest.MasterName, Addrs: w.sentinels.Addrs()}}
}

// The library stays with one Sentinel for as long as that does not say no.
func TestASentinelThatHangsIsPassedOver(t *testing.T) {
	w := startWatched(t)
	r := cache.New(dial(t, w.config()), "d")
	acquire(t, r, worker)
	hangs := 0
	for _, s := range w.sentinels {
		c := s.Client()
		clients, err := c.ClientList(t.Context()).Result()
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(clients, "cmd=subscribe") && strings.Contains(clients, "sub=2") { // ours; Sentinels take one channel of each other
			hangs++
			if err := s.Pause(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if hangs != 1 {
		t.Fatalf("%d Sentinels have told the client where the master is, want one", hangs)
	}
	if err := w.master.Do(t.Context(), "client", "kill", "type", "normal"); err != nil {
		t.Fatal(err)
	}
	if err := w.master.Do(t.Context(), "config", "set", "timeout", "0"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		began := time.Now()
		if _, err := r.Acquire(t.Context(), worker, ttl); err != nil {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	}
}

func TestAFailoverIsFollowedAndTheOldMasterLeft(t *testing.T) {
	w := startWatched(t)
	client := dial(t, w.config())
	r := cache.New(client, "d")
	acquire(t, r, worker)
	if s, err := cache.Inspect(t.Context(), client); err != nil || s.Where != "master of mymaster ("+w.master.Addr+"), as Sentinel tells" || s.Role != "master" {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := w.sentinels[0].Do(t.Context(), "sentinel", "failover", cachetest.MasterName); err != nil {
		t.Fatal(err)
	}
	if err := w.replica.Leads(); err != nil {
		t.Fatal(err)
	}
	if err := w.master.Follows(); err != nil {
		t.Fatal(err)
	}
	again, late := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
	defer again.Stop()
	for {
		_, err := r.Acquire(t.Context(), worker, ttl)
		if err == nil {
			break
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatal(err)
		}
	}
	if s, err := cache.Inspect(t.Context(), client); err != nil || !strings.Contains(s.Where, w.replica.Addr) || s.Role != "master" {
		t.Errorf("got %+v, %v, want the new master at %s", s, err, w.replica.Addr)
	}
}

func TestTroubleWithSentinelsNamesTheirSettings(t *testing.T) {
	w := startWatched(t)
	guarded := w.sentinels[2]
	if err := guarded.Do(t.Context(), "config", "set", "requirepass", "hush"); err != nil {
		// Redis 6.2 and later; before, it takes the configuration file.
		if err := guarded.Do(t.Context(), "acl", "setuser", "default", ">hush"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		claim    string
		sentinel cache.Sentinel
		want     string
	}{
		{"nobody is there", cache.Sentinel{Master: cachetest.MasterName, Addrs: []string{"127.0.0.1:1", "127.0.0.1:2"}}, "are REDIS_SENTINEL_ADDRS right"},
		{"another name", cache.Sentinel{Master: "other", Addrs: w.sentinels[:2].Addrs()}, "REDIS_SENTINEL_MASTER has to be"},
		{"no password", cache.Sentinel{Master: cachetest.MasterName, Addrs: []string{guarded.Addr}}, "REDIS_SENTINEL_PASSWORD"},
		{"a wrong password", cache.Sentinel{Master: cachetest.MasterName, Addrs: []string{guarded.Addr}, Password: always("hunter2")}, "REDIS_SENTINEL_PASSWORD"},
		{"the password", cache.Sentinel{Master: cachetest.MasterName, Addrs: []string{guarded.Addr}, Password: always("hush")}, ""},
		{"one of two is away", cache.Sentinel{Master: cachetest.MasterName, Addrs: []string{"127.0.0.1:1", w.sentinels[0].Addr}}, ""},
	} {
		var warned []string
		config := cache.Config{URL: "redis://:@nowhere", Sentinel: c.sentinel, Warn: func(text string) { warned = append(warned, text) }}
		if c.want != "" {
			config.URL = "redis://someone:secret@nowhere"
		}
		client := dial(t, config)
		_, err := cache.New(client, "d").Acquire(t.Context(), worker, ttl)
		got := text(err)
		if !strings.Contains(got, c.want) || (c.want == "") != (err == nil) || strings.Contains(got, "hunter2") || strings.Contains(got, "\n") {
			t.Errorf("%s: got %v, want %q in one line", c.claim, err, c.want)
		}
		if len(warned) > 0 {
			t.Errorf("%s: warned of the servers' user: %q", c.claim, warned)
		}
		client.Close()
	}
}

func TestASentinelsPasswordMayChange(t *testing.T) {
	fromStack(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start one more
	master, err := cachetest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(master.Close)
	sentinels, err := cachetest.StartSentinels(t.TempDir(), master, 1, "--requirepass", "old")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sentinels.Close)
	var password atomic.Value
	password.Store("old")
	r := cache.New(dial(t, cache.Config{URL: "redis://nowhere", Sentinel: cache.Sentinel{
		Master: cachetest.MasterName, Addrs: sentinels.Addrs(),
		Password: func() (string, error) { return password.Load().(string), nil },
	}}), "d")
	acquire(t, r, worker)

	hangUp := func() { // on the client, by Sentinel and server
		t.Helper()
		c := sentinels[0].Client()
		defer c.Close()
		for _, do := range [][]any{{"acl", "setuser", "default", "resetpass", ">new"}, {"client", "kill", "type", "normal"}, {"client", "kill", "type", "pubsub"}} {
			if err := c.Do(t.Context(), do...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := master.Do(t.Context(), "client", "kill", "type", "normal"); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	if _, err := r.Acquire(t.Context(), worker, ttl); !strings.Contains(text(err), "REDIS_SENTINEL_PASSWORD") {
		t.Errorf("got %v, want a refusal that names the setting", err)
	}
	password.Store("new")
	acquire(t, r, worker)
}

func always(password string) func() (string, error) {
	return func() (string, error) { return password, nil }
}

func TestANodeThatHangsDoesNotKeepTheClientFromTheOthers(t *testing.T) {
	fromStack(t, serverURL) // whoever has a stack has what it takes to start one more
	nodes, err := cachetest.StartCluster(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nodes.Close)
	away := cache.New(dial(t, cache.Config{URL: nodes[0].Addr, Cluster: []string{"127.0.0.1:1"}}), "d")
	if _, err := away.Acquire(t.Context(), worker, ttl); !strings.Contains(text(err), "are REDIS_CLUSTER_ADDRS right") {
		t.Errorf("got %v, want the setting", err)
	}
	client := dial(t, cache.Config{URL: nodes[0].Addr, Cluster: nodes.Addrs()})
	if s, err := cache.Inspect(t.Context(), client); err != nil || s.Where != "cluster of 3 masters" || s.Policy != "noeviction" || s.AppendOnly != "1" {
		t.Errorf("got %+v, %v", s, err)
	}
	r := cache.New(client, "d")
	acquire(t, r, worker)
	holder, err := client.(*redis.ClusterClient).MasterForKey(t.Context(), "slotsync:{d}:lease")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range nodes {
		if s.Addr == holder.Options().Addr {
			continue
		}
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		break
	}
	for range 10 { // the clock is asked for too, and once went to any node
		lookup(t, r, 1)
	}
}
