package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// env are variables; nil is none.
type env map[string]string

// minimal is what must be set.
func minimal(more env) env {
	all := env{
		"WIW_KEY":                              "token-1234",
		"KAFKA_BROKERS":                        "localhost:9092",
		"KAFKA_TOPIC_NAME":                     "shifts",
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://localhost:8081",
	}
	maps.Copy(all, more)
	return all
}

func (e env) get(name string) string { return e[name] }

func loadOK(t *testing.T, e env, args ...string) *config {
	t.Helper()
	cfg, err := load(args, e.get, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	cfg := loadOK(t, minimal(nil))
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"SYNC_DAYS_AHEAD", cfg.Sync.DaysAhead, 1},
		{"SYNC_DAYS_PRIOR", cfg.Sync.DaysPrior, 0},
		{"SYNC_SLEEP_PERIOD_SECONDS", cfg.Sync.Wait, 10 * time.Second},
		{"SYNC_NAME", cfg.Sync.Name, ""},
		{"SYNC_DELETES", cfg.Sync.Deletes, "update"},
		{"WIW_URL", cfg.WIW.URL.Reveal(), "https://api.wheniwork.com"},
		{"WIW_LOGIN_URL", cfg.WIW.LoginURL.Reveal(), "https://api.login.wheniwork.com/login"},
		{"WIW_USER_ID", cfg.WIW.UserID, int64(0)},
		{"WIW_INCLUDE", len(cfg.WIW.Include), 0},
		{"WIW_SLICE_DAYS", cfg.WIW.SliceDays, 30},
		{"WIW_RATE", cfg.WIW.Rate, 60},
		{"WIW_MAX_BYTES", cfg.WIW.MaxBytes, byteSize(2 << 30)},
		{"WIW_TIMEOUT", cfg.WIW.Timeout, 30 * time.Second},
		{"KAFKA_SCHEMA_NAME", cfg.Kafka.SchemaName, ""},
		{"KAFKA_PARTITION", cfg.Kafka.Partition, (*int32)(nil)},
		{"KAFKA_COMPRESSION", cfg.Kafka.Compression, "none"},
		{"KAFKA_TRANSACTIONAL_ID", cfg.transactionalID(), "slotsync-shifts"},
		{"REGISTER_SCHEMAS", cfg.Registry.Register, true},
		{"REDIS_HOST", cfg.Redis.URL.Reveal(), "redis://localhost:6379"},
		{"EXPIRE_CACHE", cfg.Redis.Expire, 604800 * time.Second},
		{"PENDING_LIMIT", cfg.Limits.Pending, 100000},
		{"REPUBLISH_RATE", cfg.Limits.Republish, 1000},
		{"BAD_SHARE", cfg.Limits.BadShare, 0.1},
		{"STOP_TIMEOUT", cfg.Limits.StopTimeout, 30 * time.Second},
		{"STATSD_HOST", cfg.statsdAddr(), ""},
		{"STATSD_PORT", cfg.Metrics.Port, 8125},
		{"METRICS_NAMESPACE", cfg.Metrics.Namespace, "slot_sync"},
		{"LOG_LEVEL", cfg.Log.Level, "info"},
		{"LOG_FORMAT", cfg.Log.Format, ""},
		{"the command", cfg.command, "foreground"},
		{"warnings", len(cfg.warnings), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestSettingsAreRead(t *testing.T) {
	three := int32(3)
	for _, c := range []struct {
		claim string
		env   env
		args  []string
		got   func(*config) any
		want  any
	}{
		{"a flag wins over a variable", env{"WIW_RATE": "7"}, []string{"--wiw-rate=9"}, func(c *config) any { return c.WIW.Rate }, 9},
		{"a flag's value may stand apart", nil, []string{"--wiw-rate", "9"}, func(c *config) any { return c.WIW.Rate }, 9},
		{"foreground is the usual command", nil, []string{"foreground"}, func(c *config) any { return c.command }, "foreground"},
		{"settings may follow the command", nil, []string{"foreground", "--wiw-rate=9"}, func(c *config) any { return c.WIW.Rate }, 9},
		{"once", nil, []string{"--once"}, func(c *config) any { return c.Once }, true},
		{"accept layout", nil, []string{"--accept-layout"}, func(c *config) any { return c.AcceptLayout }, true},
		{"an empty variable is none", env{"WIW_RATE": ""}, nil, func(c *config) any { return c.WIW.Rate }, 60},
		{"negative prior days are days", env{"SYNC_DAYS_PRIOR": "-1"}, nil, func(c *config) any { return c.Sync.DaysPrior }, 1},
		{"seconds may have a unit", env{"SYNC_SLEEP_PERIOD_SECONDS": "2m"}, nil, func(c *config) any { return c.Sync.Wait }, 2 * time.Minute},
		{"times may have no unit", env{"WIW_TIMEOUT": "45"}, nil, func(c *config) any { return c.WIW.Timeout }, 45 * time.Second},
		{"sizes in GiB", env{"WIW_MAX_BYTES": "3GiB"}, nil, func(c *config) any { return c.WIW.MaxBytes }, byteSize(3 << 30)},
		{"sizes in MB", env{"WIW_MAX_BYTES": "3 MB"}, nil, func(c *config) any { return c.WIW.MaxBytes }, byteSize(3e6)},
		{"sizes in bytes", env{"WIW_MAX_BYTES": "1048576"}, nil, func(c *config) any { return c.WIW.MaxBytes }, byteSize(1 << 20)},
		{"brokers with spaces", env{"KAFKA_BROKERS": " a:1 , b.example:9092,[::1]:3,"}, nil,
			func(c *config) any { return c.Kafka.Brokers }, hostPorts{"a:1", "b.example:9092", "[::1]:3"}},
		{"includes in any order and case", env{"WIW_INCLUDE": "Unpublished, open,open"}, nil,
			func(c *config) any { return c.WIW.Include }, words{"unpublished", "open"}},
		{"a partition", env{"KAFKA_PARTITION": "3"}, nil, func(c *config) any { return c.Kafka.Partition }, &three},
		{"partition 0 is not none", env{"KAFKA_PARTITION": "0"}, nil, func(c *config) any { return c.Kafka.Partition }, new(int32)},
		{"registration can be switched off", env{"REGISTER_SCHEMAS": "false"}, nil, func(c *config) any { return c.Registry.Register }, false},
		{"registration can be switched off by flag", nil, []string{"--no-register-schemas"}, func(c *config) any { return c.Registry.Register }, false},
		{"the registry's URL loses its last slash", env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "https://r.example/sr/"}, nil,
			func(c *config) any { return c.Registry.URL.Reveal() }, "https://r.example/sr"},
		{"Redis with a user that its server may not know", env{"REDIS_HOST": "redis://x:pass@redis:6379/2"}, nil,
			func(c *config) any { return c.Redis.URL.Reveal() }, "redis://x:pass@redis:6379/2"},
		{"Redis on a socket", env{"REDIS_URL": "unix:///run/redis.sock"}, nil,
			func(c *config) any { return c.Redis.URL.Reveal() }, "unix:///run/redis.sock"},
		{"a sync name joins the transactional id", env{"SYNC_NAME": "leeds"}, nil, (func(c *config) any { return c.transactionalID() }), "slotsync-shifts/leeds"},
		{"a transactional id of one's own", env{"KAFKA_TRANSACTIONAL_ID": "mine"}, nil, (func(c *config) any { return c.transactionalID() }), "mine"},
		{"no fence", env{"KAFKA_TRANSACTIONAL_ID": "off"}, nil, (func(c *config) any { return c.transactionalID() }), ""},
		{"health anywhere", env{"HTTP_ADDR": ":8080"}, nil, func(c *config) any { return c.HTTP.Addr }, ":8080"},
		{"health by IPv6", env{"HTTP_ADDR": "[::1]:8080"}, nil, func(c *config) any { return c.HTTP.Addr }, "[::1]:8080"},
		{"health nowhere", env{"HTTP_ADDR": "off"}, nil, func(c *config) any { return c.HTTP.Addr }, ""},
		{"StatsD", env{"STATSD_HOST": "stats", "STATSD_PORT": "9125", "DD_AGENT_HOST": "agent"}, nil, (func(c *config) any { return c.statsdAddr() }), "stats:9125"},
		{"StatsD by IPv6", env{"STATSD_HOST": "::1"}, nil, (func(c *config) any { return c.statsdAddr() }), "[::1]:8125"},
		{"the agent by host", env{"DD_AGENT_HOST": "agent"}, nil, (func(c *config) any { return c.statsdAddr() }), "agent:8125"},
		{"the agent by URL", env{"DD_DOGSTATSD_URL": "udp://agent:1234", "DD_AGENT_HOST": "other"}, nil, (func(c *config) any { return c.statsdAddr() }), "agent:1234"},
		{"the agent by URL without port", env{"DD_DOGSTATSD_URL": "udp://agent"}, nil, (func(c *config) any { return c.statsdAddr() }), "agent:8125"},
		{"the agent by socket", env{"DD_DOGSTATSD_URL": "unix:///run/dsd.socket"}, nil, (func(c *config) any { return c.statsdAddr() }), "unix:///run/dsd.socket"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if got := c.got(loadOK(t, minimal(c.env), c.args...)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestBadSettingsAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ name, value, because string }{
		{"SYNC_DAYS_AHEAD", "one", "whole number"},
		{"SYNC_DAYS_AHEAD", "-1", "at least 0"},
		{"SYNC_DAYS_AHEAD", "0", "no time to cover"},
		{"SYNC_DAYS_AHEAD", "99999999999999999999", "whole number"},
		{"SYNC_DAYS_PRIOR", "1.5", "whole number"},
		{"SYNC_DAYS_PRIOR", "4000", "at most 3650"},
		{"SYNC_SLEEP_PERIOD_SECONDS", "soon", "seconds"},
		{"SYNC_SLEEP_PERIOD_SECONDS", "-1", "at least 0"},
		{"SYNC_NAME", "a}b", "letters"},
		{"SYNC_DELETES", "all", "must be one of off, update, tombstone"},
		{"GONE_SHARE", "20", "at most 1"},
		{"GONE_SHARE", "20%", "number"},
		{"WIW_KEY", "tok\r\nW-UserId: 1", "line ends"},
		{"WIW_KEY", " tok", "space"},
		{"WIW_EMAIL", "a b@c.example", "e-mail"},
		{"WIW_EMAIL", "a@c.example\nb", "e-mail"},
		{"WIW_LOGIN_URL", "api.login.wheniwork.com", "https://"},
		{"WIW_URL", "api.wheniwork.com", "https://"},
		{"WIW_URL", "https://", "without a host"},
		{"WIW_URL", "https://a:0", "port"},
		{"WIW_URL", "https://a:99999", "port"},
		{"WIW_URL", "https://a?b", "query"},
		{"WIW_USER_ID", "0", "at least 1"},
		{"WIW_INCLUDE", "open,closed", "allopen"},
		{"WIW_SLICE_DAYS", "91", "at most 90"},
		{"WIW_SLICE_DAYS", "0", "at least 1"},
		{"WIW_RATE", "0", "at least 1"},
		{"WIW_MAX_BYTES", "2 gigs", "size"},
		{"WIW_MAX_BYTES", "1", "at least 64KiB"},
		{"WIW_MAX_BYTES", "9999999999GiB", "size"},
		{"WIW_TIMEOUT", "0", "at least 1s"},
		{"KAFKA_BROKERS", "localhost", `element 1 "localhost" has no port: localhost:9092`},
		{"KAFKA_BROKERS", "a:9092,b", `element 2 "b" has no port`},
		{"KAFKA_BROKERS", "a:9092,b:x", `element 2 "b:x" has a port that is no number`},
		{"KAFKA_BROKERS", ":9092", `element 1 ":9092" has no host`},
		{"KAFKA_BROKERS", "::1", "[::1]:9092"},
		{"KAFKA_BROKERS", "a b:9092", `"a b:9092" has a host that is none`},
		{"KAFKA_BROKERS", "[a:9092", `is "[a:9092"`},
		{"KAFKA_BROKERS", "kafka://hunter2@a:9092", "no scheme, user or path"},
		{"KAFKA_BROKERS", " , ", "has none"},
		{"KAFKA_TOPIC_NAME", "a topic", "letters"},
		{"KAFKA_TOPIC_NAME", "..", "letters"},
		{"DLQ_TOPIC", "a topic", "letters"},
		{"DLQ_TOPIC", "shifts", "one of their own"},
		{"KAFKA_SCHEMA_NAME", "uk.london.1", "namespace"},
		{"KAFKA_PARTITION", "-1", "at least 0"},
		{"KAFKA_PARTITION", "3000000000", "whole number"},
		{"KAFKA_COMPRESSION", "lzma", "snappy"},
		{"KAFKA_TRANSACTIONAL_ID", "a\x00b", "control characters"},
		{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", "localhost:8081", "http://"},
		{"SCHEMA_REGISTRY_USERNAME", "me", "SCHEMA_REGISTRY_PASSWORD"},
		{"SCHEMA_REGISTRY_PASSWORD", "pass", "SCHEMA_REGISTRY_USERNAME"},
		{"SCHEMA_REGISTRY_TOKEN", "a\nb", "line ends"},
		{"REGISTER_SCHEMAS", "perhaps", "true or false"},
		{"REDIS_HOST", "localhost:6379", "redis://"},
		{"REDIS_HOST", "redis://:pa#ss@host", "# is %23"},
		{"REDIS_HOST", "redis://:pa/ss@host", "/ is written %2F"},
		{"REDIS_HOST", "redis://me:hunter2@redis:port", "port is no number"},
		{"REDIS_HOST", "redis://me:hunter2@redis:65536", "port is no number"},
		{"REDIS_HOST", "redis://redis:", "port is no number"},
		{"REDIS_HOST", "redis://:6379", "without a host"},
		{"REDIS_HOST", "redis://[::1:6379", "one bracket"},
		{"REDIS_HOST", "redis://re dis:6379", "character in its host"},
		{"REDIS_HOST", "redis://me:hunter%2@redis", "% in a password is written %25"},
		{"REDIS_HOST", "redis://me:hun ter2@redis", "has to be written as %"},
		{"REDIS_URL", "unix://", "path"},
		{"REDIS_HOST", "redis://:hunter2@host/notdb", "cannot be read"},
		{"REDIS_URL", "redis://host?foo=bar", "cannot be read"},
		{"EXPIRE_CACHE", "0", "at least 1"},
		{"PENDING_LIMIT", "0", "at least 1"},
		{"REPUBLISH_RATE", "-5", "at least 1"},
		{"BAD_SHARE", "2", "at most 1"},
		{"BAD_SHARE", "NaN", "number"},
		{"STOP_TIMEOUT", "5s", "at least 6s"},
		{"STATSD_HOST", "a:8125", "without a port"},
		{"STATSD_PORT", "65536", "at most 65535"},
		{"DD_DOGSTATSD_URL", "http://agent", "udp://"},
		{"DD_ENV", "a|b", "tag"},
		{"METRICS_NAMESPACE", "slot sync", "letters"},
		{"HTTP_ADDR", "8080", "host:port"},
		{"HTTP_ADDR", "localhost", "host:port"},
		{"HTTP_ADDR", ":70000", "host:port"},
		{"HTTP_ADDR", "http://localhost:8080", "host:port"},
		{"HTTP_ADDR", "user@localhost:8080", "host:port"},
		{"LOG_LEVEL", "loud", "debug"},
		{"LOG_FORMAT", "xml", "json"},
		{"WIW_KEY_FILE", "/does/not/exist", "cannot be read"},
		{"REDIS_SENTINEL_ADDRS", "a", "a:26379 is the usual one"},
		{"REDIS_SENTINEL_PASSWORD", "p", "stands in REDIS_HOST"},
		{"REDIS_CLUSTER_ADDRS", "a", "a:6379 is the usual one"},
	} {
		t.Run(fmt.Sprintf("%s=%q", c.name, c.value), func(t *testing.T) {
			_, err := load(nil, minimal(env{c.name: c.value}).get, new(bytes.Buffer))
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a usage error", err)
			}
			if !strings.HasPrefix(err.Error(), c.name+" ") || !strings.Contains(err.Error(), c.because) {
				t.Errorf("got %q, want one that names %s and says %q", err, c.name, c.because)
			}
			if strings.Contains(err.Error(), "hun") {
				t.Errorf("the error tells what may be a secret: %v", err)
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != 1 {
				t.Errorf("got %d faults for one bad setting:\n%v", lines, err)
			}
		})
	}
}

func TestRedisIsFoundInOneWay(t *testing.T) {
	master, sentinels, cluster := "REDIS_SENTINEL_MASTER", "REDIS_SENTINEL_ADDRS", "REDIS_CLUSTER_ADDRS"
	for _, c := range []struct {
		claim string
		env   env
		want  string // that the one fault begins with and, behind a *, has in it; empty: none
	}{
		{"Sentinel", env{master: "m", sentinels: "localhost:1, 127.0.0.1:2", "REDIS_HOST": "redis://:p@nowhere/3"}, ""},
		{"Sentinel with a password of its own", env{master: "m", sentinels: "localhost:1", "REDIS_SENTINEL_PASSWORD": "p"}, ""},
		{"Cluster", env{cluster: "localhost:1,[::1]:2", "REDIS_HOST": "redis://user:p@nowhere"}, ""},
		{"a name without Sentinels", env{master: "m"}, sentinels + " *is not set"},
		{"a name and bad Sentinels", env{master: "m", sentinels: "a"}, sentinels + " *has no port"},
		{"Sentinels without a name", env{sentinels: "a:1"}, master + " *is not set"},
		{"both", env{master: "m", sentinels: "a:1", cluster: "b:1"}, cluster + " *does not go with"},
		{"a socket", env{cluster: "b:1", "REDIS_HOST": "unix:///run/redis"}, "REDIS_HOST *names a socket"},
		{"Sentinel with TLS", env{master: "m", sentinels: "a:1", "REDIS_HOST": "rediss://:p@nowhere"}, ""},
		{"Cluster with TLS", env{cluster: "a:1", "REDIS_HOST": "rediss://:p@nowhere"}, ""},
		{"one of a Cluster's databases", env{cluster: "b:1", "REDIS_HOST": "redis://a/3"}, "REDIS_HOST *has only one"},
	} {
		cfg, err := load(nil, minimal(c.env).get, new(bytes.Buffer))
		begin, within, _ := strings.Cut(c.want, "*")
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: got %v", c.claim, err)
		case c.want == "" && (len(cfg.warnings) > 0 || len(cfg.redis().Cluster)+len(cfg.redis().Sentinel.Addrs) == 0):
			t.Errorf("%s: got %+v, warnings %q", c.claim, cfg.redis(), cfg.warnings)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), begin) || !strings.Contains(err.Error(), within) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: got %v, want %q and %q in one line", c.claim, err, begin, within)
		}
	}
}

func TestAPasswordOfRedisInTheClearIsWarnedOf(t *testing.T) {
	sentinels := env{"REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINEL_ADDRS": "localhost:1,sentinel:1"}
	for _, c := range []struct {
		claim string
		env   env
		says  string // of the one warning; empty: there is none
	}{
		{"a password", env{"REDIS_HOST": "redis://:hunter2@redis:6379"}, "REDIS_HOST begins with redis://: the password in it"},
		{"a user and a password", env{"REDIS_HOST": "redis://me:hunter2@10.0.0.1"}, "REDIS_HOST begins"},
		{"in a file", env{"REDIS_HOST": "", "REDIS_URL_FILE": file(t, "redis://:hunter2@redis")}, "REDIS_URL_FILE begins"},
		{"no password", env{"REDIS_HOST": "redis://redis"}, ""},
		{"on this machine", env{"REDIS_HOST": "redis://:hunter2@127.0.0.1:6379"}, ""},
		{"by its name", env{"REDIS_HOST": "redis://:hunter2@localhost"}, ""},
		{"TLS", env{"REDIS_HOST": "rediss://:hunter2@redis"}, ""},
		{"a socket", env{"REDIS_HOST": "unix://me:hunter2@/run/redis"}, ""},
		{"Sentinel", with(sentinels, "REDIS_HOST", "redis://:hunter2@localhost"), "the password in it"},
		{"the Sentinels' own", with(sentinels, "REDIS_SENTINEL_PASSWORD", "hunter2"), "REDIS_SENTINEL_PASSWORD can be read"},
		{"Cluster", env{"REDIS_CLUSTER_ADDRS": "localhost:1,node:1", "REDIS_HOST": "redis://:hunter2@localhost"}, "the password in it"},
		{"a Cluster on this machine", env{"REDIS_CLUSTER_ADDRS": "localhost:1", "REDIS_HOST": "redis://:hunter2@nowhere"}, ""},
	} {
		got := loadOK(t, minimal(c.env)).warnings
		if text := strings.Join(got, "; "); len(got) > 1 || (len(got) == 1) != (c.says != "") || !strings.Contains(text, c.says) || strings.Contains(text, "hunter2") {
			t.Errorf("%s: got warnings %q, want %q", c.claim, got, c.says)
		}
	}
}

func TestTLSAndLoginCanBeSwitchedOff(t *testing.T) {
	loadOK(t, minimal(env{"KAFKA_TLS": "false", "KAFKA_SASL_MECHANISM": "off", "SYNC_DELETES": "OFF"}))
}

func TestDeadLettersAreOffOrHaveATopic(t *testing.T) {
	for value, want := range map[string]string{"": "", "off": "", "OFF": "", "false": "", "shifts-dlq": "shifts-dlq"} {
		if got := loadOK(t, minimal(env{"DLQ_TOPIC": value})).Kafka.DeadLetters; got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	loadOK(t, minimal(env{"DLQ_TOPIC": "shifts"}), "tail") // who only looks may look at both
	if _, err := load([]string{"tail", "--dead-letters"}, minimal(nil).get, new(bytes.Buffer)); err == nil || !strings.HasPrefix(err.Error(), "DLQ_TOPIC ") {
		t.Errorf("got %v, want that DLQ_TOPIC is missing", err)
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	_, err := load([]string{"--wiw-slice-days=x", "--once"}, env{
		"SYNC_DAYS_AHEAD": "x",
		"WIW_KEY":         "a\nb",
		"KAFKA_BROKERS":   "here",
		"BAD_SHARE":       "3",
		"KAFKA_TLS":       "perhaps",
		"REDIS_URL_FILE":  "/does/not/exist",
	}.get, new(bytes.Buffer))
	if err == nil {
		t.Fatal("got no error")
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		name, _, _ := strings.Cut(line, " ")
		got = append(got, name)
	}
	slices.Sort(got)
	want := []string{
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", "BAD_SHARE", "KAFKA_BROKERS", "KAFKA_TLS", "KAFKA_TOPIC_NAME",
		"REDIS_URL_FILE", "SYNC_DAYS_AHEAD", "WIW_KEY", "WIW_SLICE_DAYS",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got faults in %v,\nwant %v:\n%v", got, want, err)
	}
}

func TestOldNamesWin(t *testing.T) {
	for _, c := range []struct {
		claim    string
		env      env
		args     []string
		topic    string
		warnings int
	}{
		{"the better name alone", env{"KAFKA_TOPIC_NAME": "", "KAFKA_TOPIC": "b"}, nil, "b", 0},
		{"both, alike", env{"KAFKA_TOPIC_NAME": "a", "KAFKA_TOPIC": "a"}, nil, "a", 0},
		{"both, different", env{"KAFKA_TOPIC_NAME": "a", "KAFKA_TOPIC": "b"}, nil, "a", 1},
		{"a flag beside them", env{"KAFKA_TOPIC_NAME": "a", "KAFKA_TOPIC": "b"}, []string{"--kafka-topic=c"}, "c", 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			cfg := loadOK(t, minimal(c.env), c.args...)
			if cfg.Kafka.Topic != c.topic {
				t.Errorf("got topic %s, want %s", cfg.Kafka.Topic, c.topic)
			}
			if len(cfg.warnings) != c.warnings {
				t.Errorf("got warnings %q, want %d", cfg.warnings, c.warnings)
			}
		})
	}
	cfg := loadOK(t, minimal(env{"SCHEMA_REGISTRY_URL": "http://other:8081"}))
	if got, want := cfg.Registry.URL.Reveal(), "http://localhost:8081"; got != want {
		t.Errorf("got registry %s, want %s", got, want)
	}
	cfg = loadOK(t, minimal(env{"REDIS_HOST": "redis://old", "REDIS_URL": "redis://new"}))
	if got, want := cfg.Redis.URL.Reveal(), "redis://old"; got != want {
		t.Errorf("got Redis %s, want %s", got, want)
	}
	cfg = loadOK(t, minimal(env{"WIW_TOKEN": "better"}))
	if got, want := cfg.WIW.Token.Reveal(), "token-1234"; got != want {
		t.Errorf("got token %s, want %s", got, want)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	path := file(t, "from-file\n")
	for _, c := range []struct {
		claim string
		env   env
		args  []string
	}{
		{"under the old name", env{"WIW_KEY": "", "WIW_KEY_FILE": path}, nil},
		{"under the better name", env{"WIW_KEY": "", "WIW_TOKEN_FILE": path}, nil},
		{"by flag", nil, []string{"--wiw-token-file=" + path}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if got := loadOK(t, minimal(c.env), c.args...).WIW.Token.Reveal(); got != "from-file" {
				t.Errorf("got %q", got)
			}
		})
	}
	cfg := loadOK(t, minimal(env{
		"SCHEMA_REGISTRY_USERNAME":      "me",
		"SCHEMA_REGISTRY_PASSWORD_FILE": path,
		"REDIS_HOST_FILE":               file(t, "redis://:pw@host\r\n"),
	}))
	if got := cfg.Registry.Password.Reveal(); got != "from-file" {
		t.Errorf("got password %q", got)
	}
	if got := cfg.Redis.URL.Reveal(); got != "redis://:pw@host" {
		t.Errorf("got Redis %q", got)
	}
	for claim, args := range map[string][]string{
		"an empty file":           {"--wiw-token-file=" + file(t, "\n")},
		"a file of two lines":     {"--wiw-token-file=" + file(t, "a\nb\n")},
		"a secret for a path":     {"--wiw-token-file=hunter2"},
		"nothing where a path is": {"--wiw-token-file"},
	} {
		t.Run(claim, func(t *testing.T) {
			_, err := load(args, minimal(nil).get, new(bytes.Buffer))
			if err == nil || !strings.HasPrefix(err.Error(), "WIW_KEY (--wiw-token-file) ") {
				t.Errorf("got %v, want an error that names the setting", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells what was given: %v", err)
			}
		})
	}
}

// The old program's .env.example, as far as it sets anything, and what deployments had to add to make it start.
func TestAnEnvironmentOfSlotSyncIsAccepted(t *testing.T) {
	cfg := loadOK(t, env{
		"SYNC_DAYS_AHEAD":                      "7",
		"SYNC_DAYS_PRIOR":                      "-1",
		"SYNC_SLEEP_PERIOD_SECONDS":            "10",
		"WIW_KEY":                              "0123456789abcdef",
		"KAFKA_BROKERS":                        "kafka-1:9092, kafka-2:9092",
		"KAFKA_TOPIC_NAME":                     "slot_sync.kafka.topic.name",
		"KAFKA_SCHEMA_NAME":                    "uk.london.quiqup.slots",
		"KAFKA_SCHEMA_BASE_PATH":               "priv/schemas",
		"LENSES_HOST":                          "http://lenses:9991",
		"LENSES_USER":                          "admin",
		"LENSES_PASS":                          "admin",
		"LENSES_TOPIC":                         "slots",
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://localhost:8081",
		"SCHEMA_REGISTRY_URL":                  "http://localhost:8081",
		"REDIS_HOST":                           "redis://x:hunter2@redis:6379",
		"EXPIRE_CACHE":                         "604800",
		"STATSD_HOST":                          "localhost",
		"STATSD_PORT":                          "8125",
	}, "foreground")
	if cfg.Sync.DaysAhead != 7 || cfg.Sync.DaysPrior != 1 {
		t.Errorf("got %d days ahead and %d prior, want 7 and 1", cfg.Sync.DaysAhead, cfg.Sync.DaysPrior)
	}
	if len(cfg.warnings) != 3 || !strings.Contains(cfg.warnings[0], "SYNC_DAYS_PRIOR") || !strings.Contains(cfg.warnings[1], "REDIS_HOST") || !strings.Contains(cfg.warnings[2], "LENSES_HOST") {
		t.Errorf("got warnings %q, want one of the negative days, one of the password and one of Lenses", cfg.warnings)
	}
}

func TestAnAPIInTheClearIsWarnedOf(t *testing.T) {
	for url, want := range map[string]int{
		"http://api.example": 1, "https://api.example": 0, "http://localhost:80": 0, "http://127.0.0.1:80": 0,
	} {
		if got := loadOK(t, minimal(env{"WIW_URL": url})).warnings; len(got) != want {
			t.Errorf("%s: got warnings %q, want %d", url, got, want)
		}
		login := loadOK(t, minimal(env{
			"WIW_KEY": "", "WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": "a@b.example", "WIW_PASSWORD": "p", "WIW_LOGIN_URL": url + "/login",
		}))
		if got := login.warnings; len(got) != want || want > 0 && !strings.HasPrefix(got[0], "WIW_LOGIN_URL ") {
			t.Errorf("login at %s: got warnings %q, want %d", url, got, want)
		}
	}
}

func TestATokenOrALoginIsNeeded(t *testing.T) {
	path := file(t, "from-file\n")
	for _, c := range []struct {
		claim    string
		env      env
		args     []string
		login    bool
		faults   []string // the settings that they begin with
		says     []string
		warnings int
	}{
		{"neither", nil, nil, false, []string{"WIW_KEY"}, []string{"session token", "WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD"}, 0},
		{"a token", env{"WIW_KEY": "t"}, nil, false, nil, nil, 0},
		{"a login", env{"WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": " a@b.example ", "WIW_PASSWORD": "p"}, nil, true, nil, nil, 0},
		{"a login from files", env{"WIW_DEVELOPER_KEY_FILE": path, "WIW_EMAIL": "a@b.example", "WIW_PASSWORD_FILE": path}, nil, true, nil, nil, 0},
		{"a login by flags", nil, []string{"--wiw-developer-key-file=" + path, "--wiw-email=a@b.example", "--wiw-password-file=" + path}, true, nil, nil, 0},
		{"both: the login", env{"WIW_KEY": "t", "WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": "a@b.example", "WIW_PASSWORD": "p"}, nil, true, nil, nil, 1},
		{"half a login", env{"WIW_EMAIL": "a@b.example"}, nil, false, []string{"WIW_DEVELOPER_KEY", "WIW_PASSWORD"}, []string{"together"}, 0},
		{"half a login beside a token", env{"WIW_KEY": "t", "WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": "a@b.example"}, nil, false, []string{"WIW_PASSWORD"}, []string{"together"}, 0},
		{"a login with a wrong file", env{"WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": "a@b.example", "WIW_PASSWORD_FILE": "/does/not/exist"}, nil, false, []string{"WIW_PASSWORD_FILE"}, []string{"cannot be read"}, 0},
		{"an address of the login alone", env{"WIW_KEY": "t", "WIW_LOGIN_URL": "https://api.wheniwork.com/2/login"}, nil, false, nil, nil, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			e := minimal(env{"WIW_KEY": ""})
			maps.Copy(e, c.env)
			cfg, err := load(c.args, e.get, new(bytes.Buffer))
			var faults []string
			if err != nil {
				for line := range strings.Lines(err.Error()) {
					name, _, _ := strings.Cut(line, " ")
					faults = append(faults, name)
				}
			}
			if !slices.Equal(faults, c.faults) {
				t.Fatalf("got %v, want faults in %q", err, c.faults)
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("got %v, want %q in it", err, text)
				}
			}
			if strings.Contains(fmt.Sprint(err), "a@b.example") {
				t.Errorf("the e-mail address is in %v", err)
			}
			if err == nil && (cfg.logsIn() != c.login || len(cfg.warnings) != c.warnings || cfg.WIW.Email != strings.TrimSpace(c.env["WIW_EMAIL"]) && len(c.args) == 0) {
				t.Errorf("got a login: %v, %q, warnings %q", cfg.logsIn(), cfg.WIW.Email, cfg.warnings)
			}
		})
	}
}

func TestASecretInAFileIsReadAgain(t *testing.T) {
	path := file(t, "first\n")
	byFile := loadOK(t, minimal(env{"WIW_KEY": "", "WIW_KEY_FILE": path})).WIW.Token
	byFlag := loadOK(t, minimal(nil), "--wiw-token-file="+path).WIW.Token
	byValue := loadOK(t, minimal(nil)).WIW.Token
	for _, c := range []struct{ content, want, fault string }{
		{"first\n", "first", ""},
		{"second", "second", ""},
		{"", "", "names an empty file"},
		{"a\nb", "", "line ends"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]secret{"WIW_KEY_FILE ": byFile, "--wiw-token-file ": byFlag} {
			got, err := s.Fresh()
			if got != c.want || c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), name) || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("%q: got %q, %v, want %q, %q", c.content, got, err, c.want, c.fault)
			}
		}
	}
	if got, err := byValue.Fresh(); got != "token-1234" || err != nil {
		t.Errorf("got %q, %v from no file", got, err)
	}
	if got := byFile.Reveal(); got != "first" {
		t.Errorf("got %q, want what it was", got)
	}
}

func TestWorkingWithoutAFenceIsWarnedOf(t *testing.T) {
	for id, want := range map[string]int{"off": 1, "mine": 0, "": 0} {
		got := loadOK(t, minimal(env{"KAFKA_TRANSACTIONAL_ID": id})).warnings
		if len(got) != want || want == 1 && !strings.Contains(got[0], "an older version of a shift can land behind a newer one") {
			t.Errorf("%q: got warnings %q, want %d that says what it costs", id, got, want)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	const hidden = "hunter2"
	e := minimal(env{
		"WIW_KEY":                              hidden,
		"WIW_DEVELOPER_KEY":                    hidden + "-key",
		"WIW_EMAIL":                            "me@example.invalid",
		"WIW_PASSWORD":                         hidden + "-pass",
		"REDIS_HOST":                           "redis://me:" + hidden + "@redis:6379/1",
		"WIW_TOKEN":                            hidden + "-other", // so that there is a warning
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://me:" + hidden + "@registry:8081",
	})
	cfg := loadOK(t, e)
	var seen bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&seen, verb+"\n", cfg.WIW.Token)
		fmt.Fprintf(&seen, verb+"\n", &cfg.WIW.Token)
		fmt.Fprintf(&seen, verb+"\n", cfg.Redis.URL)
		fmt.Fprintf(&seen, verb+"\n", *cfg)
		fmt.Fprintf(&seen, verb+"\n", struct{ inner config }{*cfg}) // fmt calls no methods in there
	}
	fmt.Fprintln(&seen, cfg.warnings)
	slog.New(slog.NewJSONHandler(&seen, nil)).Info("cfg", "cfg", *cfg, "token", cfg.WIW.Token, "redis", cfg.Redis.URL)
	slog.New(slog.NewTextHandler(&seen, nil)).Info("cfg", "cfg", *cfg, "token", cfg.WIW.Token, "redis", cfg.Redis.URL)
	if err := json.NewEncoder(&seen).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{ // faults beside and in them
		"WIW_RATE": "x", "REDIS_HOST": "redis://me:" + hidden + "@redis:port", "WIW_KEY": hidden + "\n",
		"SCHEMA_REGISTRY_URL": hidden,
	} {
		bad := minimal(e)
		bad[name] = value
		_, err := load(nil, bad.get, &seen)
		fmt.Fprintln(&seen, err)
	}
	if _, err := load([]string{"--help"}, e.get, &seen); err != nil {
		t.Fatal(err)
	}
	hex := fmt.Sprintf("%x", hidden)
	for line := range strings.Lines(seen.String()) {
		if strings.Contains(line, hidden) || strings.Contains(line, hex) {
			t.Errorf("a secret is printed: %s", line)
		}
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{cfg.WIW.Token, "[redacted]"},
		{secret{}, ""},
		{cfg.Redis.URL, "redis://redis:6379/1"},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, c.value); got != c.want {
				t.Errorf("%s: got %s, want %s", verb, got, c.want)
			}
		}
		if got, err := json.Marshal(c.value); err != nil || string(got) != strconv.Quote(c.want) {
			t.Errorf("JSON: got %s, %v, want %q", got, err, c.want)
		}
	}
}

func TestAUserInAURLIsNoFlag(t *testing.T) {
	tried := 0
	declared(t, func(tag reflect.StructTag) {
		schemes, isURL := tag.Lookup("schemes")
		if !isURL {
			return
		}
		tried++
		flag := "--" + tag.Get("name")
		scheme, _, _ := strings.Cut(schemes, ",")
		for _, user := range []string{"me:hunter2@", ":hunter2@", "hunter2@"} {
			_, err := load([]string{flag + "=" + scheme + "://" + user + "host"}, minimal(env{}).get, io.Discard)
			if got := fmt.Sprint(err); strings.Count(got, "\n") > 0 || !strings.Contains(got, flag) || !strings.Contains(got, "everybody on this machine can read in the list of processes") || strings.Contains(got, "hunter2") {
				t.Errorf("%s with %s: got %s", flag, user, got)
			}
		}
		if _, err := load([]string{flag + "=" + scheme + "://host"}, minimal(env{}).get, io.Discard); err != nil && strings.Contains(err.Error(), "processes") {
			t.Errorf("%s without a user: got %v", flag, err)
		}
	})
	if tried < 5 {
		t.Fatalf("tried %d flags", tried)
	}
}

// declared calls f for each setting with its tags.
func declared(t *testing.T, f func(reflect.StructTag)) {
	t.Helper()
	n := 0
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			field := typ.Field(i)
			switch _, embedded := field.Tag.Lookup("embed"); {
			case embedded:
				walk(field.Type)
			case field.Tag.Get("name") != "":
				n++
				f(field.Tag)
			}
		}
	}
	walk(reflect.TypeFor[config]())
	if n < 30 {
		t.Fatalf("only %d settings were found", n)
	}
}

func TestEverySettingIsDeclaredWhole(t *testing.T) {
	var help bytes.Buffer
	if _, err := load([]string{"--help"}, env{}.get, &help); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	declared(t, func(tag reflect.StructTag) {
		flag := tag.Get("name")
		if tag.Get("help") == "" {
			t.Errorf("--%s has no help", flag)
		}
		if tag.Get("vars") == "" {
			return // what one call is to do, not how things are
		}
		names := strings.Split(tag.Get("vars"), ",")
		for _, name := range names {
			if seen[name] {
				t.Errorf("%s is declared twice", name)
			}
			seen[name] = true
			if !strings.Contains(help.String(), name) {
				t.Errorf("the help page lacks %s", name)
			}
		}
		want := strings.ToLower(strings.ReplaceAll(names[len(names)-1], "_", "-"))
		if strings.TrimSuffix(flag, "-file") != want {
			t.Errorf("the flag is --%s, want it named after the better variable: --%s", flag, want)
		}
		if def := tag.Get("default"); def != "" && def != "true" && !strings.Contains(help.String(), def) {
			t.Errorf("the help page lacks the default of --%s, %s", flag, def)
		}
	})

}
