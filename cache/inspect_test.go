package cache_test

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// answer makes a miniredis answer what it does not know, INFO by section and CONFIG GET by name. What is not there is
// refused.
func answer(mini *miniredis.Miniredis, info, config map[string]string) {
	mini.Server().SetPreHook(func(c *miniserver.Peer, cmd string, args ...string) bool {
		switch {
		case strings.EqualFold(cmd, "INFO") && info[args[0]] != "":
			c.WriteBulk(info[args[0]])
		case strings.EqualFold(cmd, "CONFIG") && config[args[1]] != "":
			c.WriteMapLen(1)
			c.WriteBulk(args[1])
			c.WriteBulk(config[args[1]])
		case strings.EqualFold(cmd, "INFO"), strings.EqualFold(cmd, "CONFIG"):
			c.WriteError("NOPERM this user has no permissions to run the command")
		default:
			return false
		}
		return true
	})
}

func TestInspect(t *testing.T) {
	info := map[string]string{
		"server":      "# Server\r\nredis_version:7.0.15\r\n",
		"memory":      "# Memory\r\nused_memory:1000\r\nmaxmemory:5000\r\nmaxmemory_policy:allkeys-lru\r\n",
		"persistence": "# Persistence\r\naof_enabled:0\r\n",
		"replication": "# Replication\r\nrole:slave\r\n",
	}
	for _, c := range []struct {
		claim        string
		info, config map[string]string
		want         cache.ServerState
	}{
		{"all is told", info, nil, cache.ServerState{Version: "7.0.15", Role: "slave", Policy: "allkeys-lru", AppendOnly: "0", Used: 1000, Limit: 5000}},
		{"nothing is told", nil, nil, cache.ServerState{Limit: -1}},
		{"a node that wants replicas", map[string]string{"server": "redis_mode:cluster\r\n", "replication": "role:master\r\nmin_slaves_good_slaves:1\r\n"},
			map[string]string{"min-replicas-to-write": "2"}, cache.ServerState{Role: "master", IsNode: true, Followers: 1, WantsFollowers: 2, Limit: -1}},
		{"how many it wants is not told", map[string]string{"replication": "role:master\r\nmin_slaves_good_slaves:0\r\n"}, nil,
			cache.ServerState{Role: "master", Followers: 0, WantsFollowers: 1, Limit: -1}},
		{"settings are told where INFO is silent", nil, map[string]string{"maxmemory-policy": "noeviction", "appendonly": "yes", "maxmemory": "0"},
			cache.ServerState{Policy: "noeviction", AppendOnly: "1"}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			s := inProcess(t)
			answer(s.mini, c.info, c.config)
			got, err := cache.Inspect(t.Context(), s.client)
			if err != nil {
				t.Fatal(err)
			}
			if got.RoundTrip <= 0 {
				t.Error("no round trip")
			}
			if got.Addr != s.mini.Addr() {
				t.Errorf("got the address %s, want %s", got.Addr, s.mini.Addr())
			}
			got.RoundTrip, got.Addr = 0, ""
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
	t.Run("nobody is there", func(t *testing.T) {
		if got, err := cache.Inspect(t.Context(), dial(t, cache.Config{URL: "127.0.0.1:1"})); err == nil {
			t.Errorf("got %+v", got)
		}
	})
}

func TestNewEnough(t *testing.T) {
	for version, want := range map[string][2]bool{
		"7.0.15": {true, true}, "5.0": {true, true}, "10.1": {true, true}, "4.0.14": {false, true}, "": {false, false}, "x": {false, false},
	} {
		s := cache.ServerState{Version: version}
		if runs, known := s.NewEnough(); runs != want[0] || known != want[1] {
			t.Errorf("%q: got %v, %v", version, runs, known)
		}
	}
}

func TestState(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		if got, err := s.store().State(t.Context()); err != nil || got.Holder != "" || got.Remembered+got.Open+got.Aside+got.Wanted != 0 || len(got.Ends) != 0 {
			t.Errorf("of nothing: got %+v, %v", got, err)
		}
		r := s.atWork(t)
		publish(t, r, 1, 1)
		publish(t, r, 2, 1)
		intend(t, r, intent(3, 77, 1))
		remember(t, r, aside(4, 0, 1))
		want(t, r, 5, 6, 7)
		layout := shiftsync.Layout{Partitions: 6, Fixed: "murmur2", KeySchema: 11, Account: 5}
		if err := r.Bind(t.Context(), worker, layout, false); err != nil {
			t.Fatal(err)
		}
		before := s.dump(t)
		looker := s.store()
		got, err := looker.State(t.Context())
		if err != nil || got.Holder != worker.Name || got.Remaining <= 0 || got.Remembered != 2 || got.Open != 1 || got.Aside != 1 || got.Wanted != 3 || got.Layout != layout {
			t.Errorf("got %+v, %v", got, err)
		}
		if want, _ := r.Ends(t.Context()); len(want) == 0 || !maps.Equal(got.Ends, want) {
			t.Errorf("got ends %v, want %v", got.Ends, want)
		}
		if _, _, err := looker.Rights(t.Context()); err != nil {
			t.Error(err)
		}
		if after := s.dump(t); after != before {
			t.Errorf("looking changed\n%s\nto\n%s", before, after)
		}
	})
}

func TestRights(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		refused, told, err := s.store().Rights(t.Context())
		if err != nil || len(refused) != 0 || told == (s.mini != nil) {
			t.Errorf("got %v, %v, %v", refused, told, err)
		}
		if s.mini != nil {
			return // it knows no rights
		}
		for _, c := range []struct{ claim, rule, refused, fails string }{
			{"no right to one command", "-hdel", "HDEL", ""},
			{"keys of another name only", "resetkeys ~other:*", "", "NOPERM"},
			{"no scripts", "-eval", "", "NOPERM"},
		} {
			rules := append([]any{"acl", "setuser", "limited", "reset", "on", ">hush", "~*", "+@all"}, words(c.rule)...)
			s.each(t, func(ctx context.Context, one redis.UniversalClient) error { return one.Do(ctx, rules...).Err() })
			t.Cleanup(func() {
				s.each(t, func(ctx context.Context, one redis.UniversalClient) error {
					return one.Do(ctx, "acl", "deluser", "limited").Err()
				})
			})
			limited := limitedTo(t, s, "limited", "hush")
			refused, told, err := cache.New(limited, s.destination).Rights(t.Context())
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%s: got %v", c.claim, err)
				}
				continue
			}
			if err != nil || !told || len(refused) == 0 || refused[0] != c.refused {
				t.Errorf("%s: got %v, %v, %v", c.claim, refused, told, err)
			}
		}
	})
}

func words(text string) []any {
	var all []any
	for word := range strings.FieldsSeq(text) {
		all = append(all, word)
	}
	return all
}

// limitedTo returns a client that logs in with a user.
func limitedTo(t *testing.T, s *server, user, password string) cache.Client {
	t.Helper()
	config := s.config
	_, address, found := strings.Cut(config.URL, "://")
	if !found {
		address = config.URL
	}
	config.URL = "redis://" + user + ":" + password + "@" + address
	return dial(t, config)
}

func TestCountOldKeys(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		for _, key := range []string{"slot:1", "slot:2", "slot:", "slots:3", "slotsync:{a}:shifts"} {
			if err := s.client.Set(t.Context(), key, "x", time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.client.Del(context.WithoutCancel(t.Context()), key) })
		}
		if n, all, err := cache.CountOldKeys(t.Context(), s.client); n != 3 || !all || err != nil {
			t.Errorf("got %d, %v, %v", n, all, err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if _, all, err := cache.CountOldKeys(over, s.client); all || err != nil {
			t.Errorf("without time: got %v, %v", all, err)
		}
	})
}
