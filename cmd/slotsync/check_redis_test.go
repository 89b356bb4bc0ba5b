package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/slotsync/slotsync/cache/cachetest"
)

func (s *site) sentinel(master string) *cachetest.FakeSentinel {
	s.t.Helper()
	f, err := cachetest.StartFakeSentinel(master)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(f.Close)
	return f
}

// watchedBy lets the worker find its Redis by Sentinels at these addresses.
func (s *site) watchedBy(addrs ...string) {
	s.env["REDIS_HOST"] = "redis://nowhere"
	s.env["REDIS_SENTINEL_MASTER"], s.env["REDIS_SENTINEL_ADDRS"] = cachetest.MasterName, strings.Join(addrs, ",")
}

// says makes the world's Redis answer a command with an error.
func (s *site) says(command, text string) {
	s.info.mu.Lock()
	defer s.info.mu.Unlock()
	s.info.refuses, s.info.refusal = command, text
}

func TestWhatACheckSaysOfManyServers(t *testing.T) {
	for _, c := range []struct {
		claim, name  string
		set          func(s *site)
		want         verdict
		seen, advice string
	}{
		{"found through Sentinels", "redis_reached", func(s *site) { s.watchedBy(s.sentinel(s.Redis.Addr()).Addr) },
			verdictOK, "master of mymaster (%s), as Sentinel tells", ""},
		{"all Sentinels answer", "redis_sentinels", func(s *site) {
			s.watchedBy(s.sentinel(s.Redis.Addr()).Addr, s.sentinel(s.Redis.Addr()).Addr)
		}, verdictOK, "2 of 2 answered", ""},
		{"a Sentinel is away", "redis_sentinels", func(s *site) {
			s.watchedBy(s.sentinel(s.Redis.Addr()).Addr, nowhere, s.sentinel(s.Redis.Addr()).Addr)
		}, verdictWarn, "2 of 3 answered; " + nowhere + ": dial tcp", "REDIS_SENTINEL_ADDRS"},
		{"Sentinels disagree", "redis_sentinels", func(s *site) {
			s.watchedBy(s.sentinel(s.Redis.Addr()).Addr, s.sentinel(nowhere).Addr)
		}, verdictWarn, "2 of 2 answered; ", "see that they agree"},
		{"a Sentinel watches something else", "redis_sentinels", func(s *site) {
			s.watchedBy(s.sentinel(s.Redis.Addr()).Addr, s.sentinel("").Addr)
		}, verdictWarn, "knows no master of that name", "see that they agree"},
		{"no Sentinel knows the name", "redis_reached", func(s *site) { s.watchedBy(s.sentinel("").Addr, s.sentinel("").Addr) },
			verdictFail, "redis at mymaster: the Sentinels know no master of that name", "REDIS_SENTINEL_MASTER has to be"},
		{"Sentinels with a password", "redis_sentinels", func(s *site) {
			guarded := s.sentinel(s.Redis.Addr())
			guarded.Require("hush")
			s.watchedBy(guarded.Addr)
			s.env["REDIS_SENTINEL_PASSWORD"] = "hush"
		}, verdictOK, "1 of 1 answered", ""},
		{"Sentinels with another password", "redis_reached", func(s *site) {
			guarded := s.sentinel(s.Redis.Addr())
			guarded.Require("hush")
			s.watchedBy(guarded.Addr)
			s.env["REDIS_SENTINEL_PASSWORD"] = "hash"
		}, verdictFail, "redis at mymaster: no Sentinel tells of it: WRONGPASS", "put the password of the Sentinels into REDIS_SENTINEL_PASSWORD"},
		{"no Sentinel is there", "redis_reached", func(s *site) { s.watchedBy(nowhere) },
			verdictFail, "redis at mymaster: no Sentinel tells of it: dial tcp", "see that REDIS_SENTINEL_MASTER and REDIS_SENTINEL_ADDRS are right"},
		{"the master that they name is away", "redis_reached", func(s *site) { s.watchedBy(s.sentinel(nowhere).Addr) },
			verdictFail, "redis at mymaster: ping: dial tcp " + nowhere, "the Sentinels answer and name this master, which does not: it passes"},
		{"what is typed goes to the master", "redis_eviction", func(s *site) {
			s.watchedBy(s.sentinel(s.Redis.Addr()).Addr)
			s.tell("maxmemory_policy", "allkeys-lru")
		}, verdictWarn, "allkeys-lru", "on all servers"},

		{"a single server in the place of a cluster", "redis_reached", func(s *site) {
			s.env["REDIS_CLUSTER_ADDRS"] = s.Redis.Addr()
			s.says("CLUSTER", "ERR This instance has cluster support disabled")
		}, verdictFail, "cluster support disabled", "this is a single server, no Redis Cluster: name it in REDIS_HOST"},
		{"a node that sends us elsewhere in the place of a single server", "redis_reached", func(s *site) { s.says("EVAL", "MOVED 1 "+nowhere) },
			verdictFail, "MOVED", "name it in REDIS_CLUSTER_ADDRS"},
		{"a node in the place of a single server", "redis_reached", func(s *site) { s.tell("redis_mode", "cluster") },
			verdictWarn, "a node of a Redis Cluster", "name it in REDIS_CLUSTER_ADDRS"},
		{"a cluster without a part", "redis_reached", func(s *site) {
			s.env["REDIS_CLUSTER_ADDRS"] = s.Redis.Addr()
			s.says("EVAL", "CLUSTERDOWN The cluster is down")
		}, verdictFail, "CLUSTERDOWN", "a part of the cluster has no master: it passes when there is one again"},

		{"too few replicas follow", "redis_role", func(s *site) {
			s.tell("min_slaves_good_slaves", "0")
		}, verdictFail, "takes no writes: 0 of the 1 replica that min-replicas-to-write asks for follow", "bring the replicas back"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			c.set(s)
			found, _, _ := s.check()
			seen := strings.ReplaceAll(c.seen, "%s", s.Redis.Addr())
			f := found[c.name]
			if f.Verdict != c.want || !strings.Contains(f.Seen, seen) || !strings.Contains(f.Advice, c.advice) || (f.Advice == "") != (c.advice == "") {
				t.Errorf("got %+v, want %s, %q, %q", f, c.want, seen, c.advice)
			}
			if f.Command != "" && (strings.Contains(f.Command, "<") || !strings.Contains(f.Command, s.Redis.Addr()) && s.env["REDIS_CLUSTER_ADDRS"] == "") {
				t.Errorf("got the command %q, want the server's address in it", f.Command)
			}
			if c.name == "redis_reached" && found["redis_sentinels"].Verdict == verdictWarn {
				t.Errorf("it is told a second time: %+v", found["redis_sentinels"])
			}
			if f.Advice != "" && strings.Contains(f.Seen, f.Advice) {
				t.Errorf("%q says its advice twice", f.Seen)
			}
		})
	}
}

// A cluster whose other parts are lost keeps what lies on the rest of it, if it is told to.
func TestANodeOfNoConcernIsAWarning(t *testing.T) {
	fromStack(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start more
	nodes, err := cachetest.StartCluster(t.TempDir(), 3, "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "2000")
	started(t, nodes...)(err)
	s := newSite(t)
	s.env["REDIS_CLUSTER_ADDRS"] = strings.Join(nodes.Addrs(), ",")
	s.pass()
	ours := keeper(t, nodes)
	for _, node := range nodes {
		if node == ours {
			continue
		}
		node.Close()
		found, _, code := s.check()
		if f := found["redis_reached"]; code != 0 || f.Verdict != verdictWarn || !strings.Contains(f.Seen, node.Addr+": ") || found["redis_scripts"].Verdict != verdictOK || found["redis_shifts"].Verdict != verdictOK {
			t.Errorf("without %s, which keeps nothing of ours: got %+v, exit %d", node.Addr, found, code)
		}
		if err := node.Run(); err != nil {
			t.Fatal(err)
		}
	}
	ours.Close()
	found, _, code := s.check()
	if f := found["redis_reached"]; code != 1 || f.Verdict != verdictFail || f.Advice == "" || found["redis_shifts"].Verdict != verdictSkip {
		t.Errorf("without the one that keeps ours: got %+v, exit %d", f, code)
	}
}

// keeper is the node that keeps what was remembered.
func keeper(t *testing.T, nodes cachetest.Group) *cachetest.Server {
	t.Helper()
	for _, s := range nodes {
		c := s.Client()
		keys, err := c.Keys(context.WithoutCancel(t.Context()), "slotsync:*").Result()
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) > 0 {
			return s
		}
	}
	t.Fatal("no node keeps a key")
	return nil
}

// What the settings say of Sentinels and nodes reaches them.
func TestSettingsOfManyServersAreHandedOn(t *testing.T) {
	cfg := loadOK(t, minimal(env{
		"REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINEL_ADDRS": "a:1, b:2", "REDIS_SENTINEL_PASSWORD": "hush", "REDIS_HOST": "redis://:secret@nowhere/3",
	}), "check")
	c := cfg.redis()
	password, err := c.Sentinel.Password()
	if got := fmt.Sprintln(c.Sentinel.Master, c.Sentinel.Addrs, password, err, c.URL); got != "m [a:1 b:2] hush <nil> redis://:secret@nowhere/3\n" {
		t.Errorf("got %s", got)
	}
	cfg = loadOK(t, minimal(env{"REDIS_CLUSTER_ADDRS": "a:1, b:2,c:3"}), "check")
	if got := fmt.Sprint(cfg.redis().Cluster); got != "[a:1 b:2 c:3]" {
		t.Errorf("got %s", got)
	}
}
