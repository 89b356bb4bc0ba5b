package cache_test

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
)

// fakeCluster starts nodes that tell of each other, and each what the lines of INFO say. A line that is empty makes a node
// that is not there.
func fakeCluster(t *testing.T, infos ...string) (addrs []string) {
	t.Helper()
	nodes := make([]*miniredis.Miniredis, len(infos))
	for i, info := range infos {
		nodes[i] = miniredis.RunT(t)
		addrs = append(addrs, nodes[i].Addr())
		if info == "" {
			nodes[i].Close()
		}
	}
	for i, node := range nodes {
		if infos[i] != "" {
			node.Server().SetPreHook(nodeOf(addrs, infos[i]))
		}
	}
	return addrs
}

// nodeOf answers what a node of the cluster with these addresses is asked about it.
func nodeOf(addrs []string, info string) miniserver.Hook {
	slots := func(c *miniserver.Peer) {
		const all = 16384
		c.WriteLen(len(addrs))
		for i, addr := range addrs {
			host, port, _ := net.SplitHostPort(addr)
			n, _ := strconv.Atoi(port)
			c.WriteLen(3)
			c.WriteInt(i * all / len(addrs))
			c.WriteInt((i+1)*all/len(addrs) - 1)
			c.WriteLen(3)
			c.WriteBulk(host)
			c.WriteInt(n)
			c.WriteBulk(fmt.Sprintf("%040d", i))
		}
	}
	return func(c *miniserver.Peer, cmd string, args ...string) bool {
		switch {
		case strings.EqualFold(cmd, "CLUSTER"):
			slots(c)
		case strings.EqualFold(cmd, "INFO"):
			c.WriteBulk(strings.ReplaceAll(info, " ", "\r\n"))
		case strings.EqualFold(cmd, "CONFIG"):
			c.WriteMapLen(0)
		default:
			return false
		}
		return true
	}
}

// The password of each node is replaced by itself, in any order.
func TestANodeThatWantsTheOldPasswordIsShownIt(t *testing.T) {
	var nodes []*miniredis.Miniredis
	var addrs []string
	for range 2 {
		node := miniredis.RunT(t)
		nodes, addrs = append(nodes, node), append(addrs, node.Addr())
	}
	again := func(node *miniredis.Miniredis, password string) { // with new connections
		t.Helper()
		node.Close()
		node.RequireAuth(password)
		if err := node.Restart(); err != nil {
			t.Fatal(err)
		}
		node.Server().SetPreHook(nodeOf(addrs, good))
	}
	again(nodes[0], "old")
	again(nodes[1], "old")
	client := dial(t, cache.Config{
		URL: "redis://:old@nowhere", Cluster: addrs,
		Fresh: func() (string, error) { return "redis://:new@nowhere", nil },
	})
	reach := func(when string) {
		t.Helper()
		err := client.(*redis.ClusterClient).ForEachMaster(t.Context(), func(ctx context.Context, one *redis.Client) error {
			return one.Ping(ctx).Err()
		})
		if err != nil {
			t.Errorf("%s: got %v", when, err)
		}
	}
	reach("both want the old one")
	again(nodes[0], "new")
	reach("one wants the new one")
	again(nodes[1], "old")
	reach("the other one still wants the old one, of a new connection")
	again(nodes[0], "new")
	reach("the one still wants the new one")
	again(nodes[1], "new")
	reach("both want the new one")
}

const good = "redis_version:7.0.15 redis_mode:cluster role:master maxmemory_policy:noeviction aof_enabled:1 used_memory:10 maxmemory:1000"

func TestTheWorstOfEachNodeIsToldOfACluster(t *testing.T) {
	for _, c := range []struct {
		claim string
		bad   string // of one node
		want  func(s *cache.ServerState)
	}{
		{"all are alike", good, func(s *cache.ServerState) {}},
		{"another policy", "maxmemory_policy:allkeys-lru", func(s *cache.ServerState) { s.Policy = "allkeys-lru" }},
		{"no append-only file", "aof_enabled:0", func(s *cache.ServerState) { s.AppendOnly = "0" }},
		{"an older version", "redis_version:4.0.14", func(s *cache.ServerState) { s.Version = "4.0.14" }},
		{"a replica", "role:slave", func(s *cache.ServerState) { s.Role = "slave" }},
		{"fuller", "used_memory:900", func(s *cache.ServerState) { s.Used = 900 }},
		{"fewer replicas than it wants", "min_slaves_good_slaves:0", func(s *cache.ServerState) { s.WantsFollowers = 1 }},
	} {
		name, _, _ := strings.Cut(c.bad, ":")
		bad := c.bad + " "
		for line := range strings.FieldsSeq(good) {
			if !strings.HasPrefix(line, name+":") {
				bad += line + " "
			}
		}
		for place := range 3 {
			infos := []string{good, good, good}
			infos[place] = bad
			addrs := fakeCluster(t, infos...)
			got, err := cache.Inspect(t.Context(), dial(t, cache.Config{URL: "redis://nowhere", Cluster: addrs}))
			if err != nil {
				t.Fatal(err)
			}
			want := cache.ServerState{Where: "cluster of 3 masters", Version: "7.0.15", Role: "master", IsNode: true, Policy: "noeviction", AppendOnly: "1", Used: 10, Limit: 1000}
			c.want(&want)
			got.RoundTrip, got.Addr = 0, ""
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("%s, node %d: got %+v, want %+v", c.claim, place, *got, want)
			}
		}
	}
}

func TestANodeThatIsAwayIsNamedAndTheOthersAreLookedAt(t *testing.T) {
	addrs := fakeCluster(t, good, "", good)
	client := dial(t, cache.Config{URL: "redis://nowhere", Cluster: addrs})
	got, err := cache.Inspect(t.Context(), client)
	if err != nil || got.Where != "cluster of 3 masters" || got.Policy != "noeviction" || len(got.Away) != 1 || !strings.HasPrefix(got.Away[0], addrs[1]+": ") {
		t.Errorf("got %+v, %v, want %s away", got, err, addrs[1])
	}
}

// What bounds a step is the same, whatever stands behind it.
func TestEachKindOfClientHasTheTimeOfASingleServer(t *testing.T) {
	single := dial(t, cache.Config{URL: "redis://nowhere"}).(*redis.Client).Options()
	watched := dial(t, cache.Config{URL: "redis://nowhere", Sentinel: cache.Sentinel{Master: "m", Addrs: []string{"127.0.0.1:1"}}}).(interface{ Options() *redis.Options }).Options()
	cluster := dial(t, cache.Config{URL: "redis://nowhere", Cluster: []string{"127.0.0.1:1"}}).(*redis.ClusterClient).Options()
	if single.DialTimeout == 0 || single.ReadTimeout == 0 || single.DialerRetries != 1 || !single.ContextTimeoutEnabled {
		t.Fatalf("a single server has %+v", single)
	}
	for _, name := range []string{"DialTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "ContextTimeoutEnabled", "DialerRetries", "DisableIdentity"} {
		want := reflect.ValueOf(*single).FieldByName(name).Interface()
		for kind, options := range map[string]any{"Sentinel": *watched, "Cluster": *cluster} {
			if got := reflect.ValueOf(options).FieldByName(name).Interface(); got != want {
				t.Errorf("%s, %s: got %v, want %v", kind, name, got, want)
			}
		}
	}
	if watched.MaxRetries != single.MaxRetries {
		t.Errorf("with Sentinel a command is tried again %d times, want %d", watched.MaxRetries, single.MaxRetries)
	}
	if !cluster.DisableRoutingPolicies {
		t.Error("a Cluster is asked for the table of all commands, which some of its users may not see")
	}
}
