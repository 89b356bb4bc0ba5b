package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/cmd/mini/world"
)

const (
	hush      = "made-up-redis-password"
	sentHush  = "made-up-sentinel-password"
	wrongHush = "made-up-wrong-password"
)

// quick is how long a fault may take to be told, on a machine that does other things too. In peace it is a second or two.
const quick = 25 * time.Second

// attempt is one way to come to a server, rightly or wrongly.
type attempt struct {
	way, claim string
	settings   env
	says       []string // in the log and in the advice of a check; none: all is well
}

// ways tries them all, prints what an operator reads, and fails where that is not what is wanted.
func ways(t *testing.T, w *world.World, checkGroup string, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		t.Run(a.way+"/"+a.claim, func(t *testing.T) {
			began := time.Now()
			rep, code, log := once(t, w, a.settings)
			took := time.Since(began)
			if len(a.says) == 0 {
				if code != 0 || rep == nil {
					t.Errorf("got exit %d, want 0\n%s", code, log)
				}
				t.Logf("%s | %s | ok", a.way, a.claim)
				return
			}
			told := lastError(log)
			t.Logf("%s | %s | after %s: %s", a.way, a.claim, took.Round(10*time.Millisecond), told)
			if code != 1 || took > quick {
				t.Errorf("got exit %d after %s, want 1 at once\n%s", code, took, log)
			}
			for _, part := range a.says {
				if !strings.Contains(told, part) {
					t.Errorf("got %q\nwant %q in it", told, part)
				}
			}
			text, _, code := call(t, w, a.settings, "check")
			if code != 1 {
				t.Errorf("check: got exit %d, want 1", code)
			}
			advice := adviceOf(text, checkGroup)
			t.Logf("check:\n%s", advice)
			setting, flat := a.says[0], strings.Join(strings.Fields(advice), " ")
			if _, todo, _ := strings.Cut(flat, "→"); strings.Contains(setting, "_TLS_") {
				flat = todo // what was seen names it anyway
			}
			if !strings.Contains(flat, setting) {
				t.Errorf("check: got\n%s\nwant %s in it", advice, setting)
			}
			for _, secret := range []string{hush, sentHush, wrongHush} {
				if strings.Contains(log+text, secret) {
					t.Errorf("a password is in\n%s\n%s", log, text)
				}
			}
		})
	}
}

// lastError is the last error of a log.
func lastError(log string) string {
	_, after, _ := strings.Cut(log[strings.LastIndex(log, `"err":"`)+1:], `err":"`)
	told, _, _ := strings.Cut(after, `","`)
	told, _, _ = strings.Cut(told, `"}`)
	return strings.ReplaceAll(told, `\"`, `"`)
}

// adviceOf cuts the fault of a group out of the text of a check.
func adviceOf(text, group string) string {
	_, after, _ := strings.Cut(text, "\n"+group+"\n")
	after, _, _ = strings.Cut(after, "\n\n")
	at := strings.Index(after, "  FAIL")
	if at < 0 {
		return after
	}
	lines := strings.Split(after[at:], "\n")
	n := 1
	for n < len(lines) && strings.HasPrefix(lines[n], "      ") {
		n++
	}
	return strings.Join(lines[:n], "\n")
}

// redisAt returns the URL of a server.
func redisAt(scheme, user, password, address string) string {
	u := url.URL{Scheme: scheme, Host: address}
	if scheme == "unix" {
		u.Host, u.Path = "", address
	}
	if user != "" || password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

func started(t *testing.T, servers ...*cachetest.Server) func(error) {
	return func(err error) {
		t.Helper()
		for _, s := range servers {
			if s != nil {
				t.Cleanup(s.Close)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Each way to come to Redis, with what is right and with what is wrong, on real servers.
func TestRedisIsReachedInEachWay(t *testing.T) {
	fromStack(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start more
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	server := ours.sign("server", time.Hour, "127.0.0.1")
	client, expired, foreign := ours.sign("client", time.Hour), ours.sign("expired", -time.Hour, "127.0.0.1"), others.sign("foreign", time.Hour)
	both := ours.ofRedis(server).Settings()

	socket := filepath.Join(t.TempDir(), "redis.sock")
	single, err := cachetest.Start(t.TempDir(), append([]string{"--requirepass", hush, "--unixsocket", socket}, both...)...)
	started(t, single)(err)
	strict, err := cachetest.Start(t.TempDir(), append(both, "--tls-auth-clients", "yes")...)
	started(t, strict)(err)
	stale, err := cachetest.Start(t.TempDir(), ours.ofRedis(expired).Settings()...)
	started(t, stale)(err)
	allow(t, single, "slotsync", hush)
	allow(t, single, "poor", hush, "-evalsha", "-eval")

	master, err := cachetest.Start(t.TempDir(), append([]string{"--requirepass", hush}, both...)...)
	started(t, master)(err)
	sentinels, err := cachetest.StartSentinels(t.TempDir(), master, 1, append([]string{"--requirepass", sentHush}, both...)...)
	started(t, sentinels...)(err)
	nodes, err := cachetest.StartCluster(t.TempDir(), 3, append([]string{"--requirepass", hush, "--tls-cluster", "yes"}, both...)...)
	started(t, nodes...)(err)
	var tlsNodes []string
	for _, n := range nodes {
		tlsNodes = append(tlsNodes, n.TLSAddr)
	}

	_, port, _ := net.SplitHostPort(single.TLSAddr)
	plain := env{"REDIS_HOST": redisAt("redis", "", hush, single.Addr)}
	user := env{"REDIS_HOST": redisAt("redis", "slotsync", hush, single.Addr)}
	tls := env{"REDIS_HOST": redisAt("rediss", "slotsync", hush, single.TLSAddr), "REDIS_TLS_CA": ours.path}
	mutual := env{"REDIS_HOST": redisAt("rediss", "", "", strict.TLSAddr), "REDIS_TLS_CA": ours.path, "REDIS_TLS_CERT": client.cert, "REDIS_TLS_KEY": client.key}
	unix := env{"REDIS_HOST": redisAt("unix", "", hush, socket)}
	sentinel := env{
		"REDIS_HOST": redisAt("rediss", "", hush, "nowhere"), "REDIS_TLS_CA": ours.path, "REDIS_SENTINEL_MASTER": cachetest.MasterName,
		"REDIS_SENTINEL_ADDRS": sentinels[0].TLSAddr, "REDIS_SENTINEL_PASSWORD": sentHush,
	}
	cluster := env{"REDIS_HOST": redisAt("rediss", "", hush, "nowhere"), "REDIS_TLS_CA": ours.path, "REDIS_CLUSTER_ADDRS": strings.Join(tlsNodes, ",")}

	w := start(t, world.Options{Shifts: 30, Partitions: 2})
	ways(t, w, "Redis", []attempt{
		{"password", "right", plain, nil},
		{"password", "wrong", env{"REDIS_HOST": redisAt("redis", "", wrongHush, single.Addr)}, []string{"REDIS_HOST", "WRONGPASS"}},
		{"password", "none", env{"REDIS_HOST": redisAt("redis", "", "", single.Addr)}, []string{"REDIS_HOST", "NOAUTH"}},
		{"password", "to the port of TLS", env{"REDIS_HOST": redisAt("redis", "", hush, single.TLSAddr)}, []string{"REDIS_HOST", "begin with rediss://"}},
		{"user", "right", user, nil},
		{"user", "unknown, beside the default user's password", env{"REDIS_HOST": redisAt("redis", "old", hush, single.Addr)}, nil},
		{"user", "wrong password", env{"REDIS_HOST": redisAt("redis", "slotsync", wrongHush, single.Addr)}, []string{"REDIS_HOST", "WRONGPASS"}},
		{"user", "without rights", env{"REDIS_HOST": redisAt("redis", "poor", hush, single.Addr)}, []string{"REDIS_HOST", "NOPERM"}},
		{"TLS", "right", tls, nil},
		{"TLS", "an authority as text", with(tls, "REDIS_TLS_CA", read(t, ours.path)), nil},
		{"TLS", "unknown authority", with(tls, "REDIS_TLS_CA", ""), []string{"REDIS_TLS_CA", "not known here"}},
		{"TLS", "another authority", with(tls, "REDIS_TLS_CA", others.path), []string{"REDIS_TLS_CA", "not signed by"}},
		{"TLS", "another name", with(tls, "REDIS_HOST", redisAt("rediss", "slotsync", hush, "localhost:"+port)), []string{"REDIS_HOST", "not for localhost"}},
		{"TLS", "expired", env{"REDIS_HOST": redisAt("rediss", "", "", stale.TLSAddr), "REDIS_TLS_CA": ours.path}, []string{"expired"}},
		{"TLS", "to the port without", with(tls, "REDIS_HOST", redisAt("rediss", "slotsync", hush, single.Addr)), []string{"REDIS_HOST", "TLS"}},
		{"TLS", "wrong password", with(tls, "REDIS_HOST", redisAt("rediss", "slotsync", wrongHush, single.TLSAddr)), []string{"REDIS_HOST", "WRONGPASS"}},
		{"TLS, both sides", "right", mutual, nil},
		{"TLS, both sides", "no certificate", with(mutual, "REDIS_TLS_CERT", "", "REDIS_TLS_KEY", ""), []string{"REDIS_TLS_CERT", "wants a certificate"}},
		{"TLS, both sides", "another authority's", with(mutual, "REDIS_TLS_CERT", foreign.cert, "REDIS_TLS_KEY", foreign.key), []string{"REDIS_TLS_CERT", "does not accept"}},
		{"TLS, both sides", "expired", with(mutual, "REDIS_TLS_CERT", expired.cert, "REDIS_TLS_KEY", expired.key), []string{"REDIS_TLS_CERT", "expired"}},
		{"socket", "right", unix, nil},
		{"socket", "wrong password", env{"REDIS_HOST": redisAt("unix", "", wrongHush, socket)}, []string{"REDIS_HOST", "WRONGPASS"}},
		{"socket", "none there", env{"REDIS_HOST": redisAt("unix", "", hush, socket+".x")}, []string{"REDIS_HOST", "no such file"}},
		{"Sentinel", "right", sentinel, nil},
		{"Sentinel", "wrong password of the Sentinels", with(sentinel, "REDIS_SENTINEL_PASSWORD", wrongHush), []string{"REDIS_SENTINEL_PASSWORD"}},
		{"Sentinel", "no password of the Sentinels", with(sentinel, "REDIS_SENTINEL_PASSWORD", ""), []string{"REDIS_SENTINEL_PASSWORD"}},
		{"Sentinel", "wrong password of the master", with(sentinel, "REDIS_HOST", redisAt("rediss", "", wrongHush, "nowhere")), []string{"REDIS_HOST", "WRONGPASS"}},
		{"Sentinel", "unknown authority", with(sentinel, "REDIS_TLS_CA", ""), []string{"REDIS_TLS_CA"}},
		{"Sentinel", "without TLS", with(sentinel, "REDIS_TLS_CA", "", "REDIS_HOST", redisAt("redis", "", hush, "nowhere")), []string{"rediss://"}},
		{"Cluster", "right", cluster, nil},
		{"Cluster", "wrong password", with(cluster, "REDIS_HOST", redisAt("rediss", "", wrongHush, "nowhere")), []string{"REDIS_HOST", "WRONGPASS"}},
		{"Cluster", "unknown authority", with(cluster, "REDIS_TLS_CA", ""), []string{"REDIS_TLS_CA"}},
		{"Cluster", "without TLS", with(cluster, "REDIS_TLS_CA", "", "REDIS_HOST", redisAt("redis", "", hush, "nowhere")), []string{"rediss://"}},
	})
}

// allow makes a user with the README's rule, and what is more.
func allow(t *testing.T, s *cachetest.Server, name, password string, more ...any) {
	t.Helper()
	args := []any{"ACL", "SETUSER", name}
	for _, word := range redisRule(t)[1:] {
		args = append(args, strings.ReplaceAll(word, "PASSWORD", password))
	}
	args = append(args, "+ping", "+info", "+config|get", "+pttl")
	if err := s.Do(context.WithoutCancel(t.Context()), append(args, more...)...); err != nil {
		t.Fatal(fmt.Errorf("allow %s: %w", name, err))
	}
}
