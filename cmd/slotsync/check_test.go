package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/schemas"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// site is a world with an operator in it, who checks it and does what the check says.
type site struct {
	t *testing.T
	*world.World
	brokers *publishtest.Kafka // the world's, or another one
	env     env
	info    *redisInfo
}

// redisInfo is what the world's Redis tells of itself, which miniredis does not.
type redisInfo struct {
	mu      sync.Mutex // guards all below
	told    map[string]string
	refuses string // a command
	refusal string // what it answers to it; empty: that there is no right to it
}

func newSite(t *testing.T) *site {
	w := start(t, world.Options{Shifts: 40, Partitions: 3})
	s := &site{t: t, World: w, brokers: w.Kafka, env: w.Env(), info: &redisInfo{told: map[string]string{
		"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": "1", "used_memory": "1000", "maxmemory": "0",
	}}}
	w.Redis.Server().SetPreHook(func(c *miniserver.Peer, cmd string, args ...string) bool {
		s.info.mu.Lock()
		defer s.info.mu.Unlock()
		switch {
		case strings.EqualFold(cmd, s.info.refuses):
			c.WriteError(cmp.Or(s.info.refusal, "NOPERM this user has no permissions to run the '"+strings.ToLower(cmd)+"' command"))
		case strings.EqualFold(cmd, "INFO"):
			var b strings.Builder
			for name, value := range s.info.told {
				fmt.Fprintf(&b, "%s:%s\r\n", name, value)
			}
			c.WriteBulk(b.String())
		default:
			return false
		}
		return true
	})
	return s
}

func (s *site) tell(name, value string) {
	s.info.mu.Lock()
	defer s.info.mu.Unlock()
	s.info.told[name] = value
}

func (s *site) refuse(command string) {
	s.info.mu.Lock()
	defer s.info.mu.Unlock()
	s.info.refuses = command
}

// move puts another cluster in the place of the world's.
func (s *site) move(o publishtest.KafkaOptions) {
	s.t.Helper()
	if o.Topic == "" {
		o.Topic, o.Partitions = world.Topic, 3
	}
	k, err := publishtest.StartKafka(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(k.Close)
	s.brokers = k
	s.env["KAFKA_BROKERS"] = strings.Join(k.Addrs, ",")
}

func (s *site) call(args ...string) (stdout string, code int) {
	s.t.Helper()
	var out, stderr bytes.Buffer
	err := run(s.t.Context(), args, s.env.get, &out, &stderr)
	code = exitCode(err)
	all := out.String() + stderr.String() + fmt.Sprint(err)
	for _, secret := range []string{"WIW_KEY", "SCHEMA_REGISTRY_PASSWORD"} {
		if v := s.env[secret]; v != "" && strings.Contains(all, v) {
			s.t.Errorf("the value of %s is in the output:\n%s", secret, all)
		}
	}
	return out.String(), code
}

// check returns what the check finds, by name.
func (s *site) check(args ...string) (found map[string]finding, m *migration, code int) {
	s.t.Helper()
	out, code := s.call(append([]string{"check", "--json"}, args...)...)
	var report checkReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		s.t.Fatalf("%v in %q", err, out)
	}
	found = map[string]finding{}
	for _, f := range report.Checks {
		found[f.Name] = f
	}
	return found, report.Migration, code
}

// pass lets the worker do one pass.
func (s *site) pass(args ...string) {
	s.t.Helper()
	if _, code := s.call(append([]string{"--once"}, args...)...); code != 0 {
		s.t.Fatalf("a pass ended with %d", code)
	}
}

// follow does what a finding says is to be typed.
func (s *site) follow(f finding) {
	s.t.Helper()
	words := strings.Fields(f.Command)
	after := func(flag string) string {
		if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
			return words[i+1]
		}
		return ""
	}
	switch {
	case f.Command == "":
		s.t.Fatalf("nothing to type in %+v", f)
	case words[0] == "slotsync":
		if _, code := s.call(words[1:]...); code != 0 {
			s.t.Fatalf("%s: exit %d", f.Command, code)
		}
	case words[0] == "kafka-acls.sh":
		operation, err := kmsg.ParseACLOperation(after("--operation"))
		if err != nil {
			s.t.Fatal(err)
		}
		of, name := kmsg.ACLResourceTypeTopic, after("--topic")
		if id := after("--transactional-id"); id != "" {
			of, name = kmsg.ACLResourceTypeTransactionalId, id
		}
		if err := s.brokers.Grant(s.t.Context(), publishtest.May(operation, of, name)); err != nil {
			s.t.Fatal(err)
		}
	case words[0] == "kafka-configs.sh":
		s.alter(after("--entity-name"), after("--add-config"))
	case words[0] == "redis-cli":
		if at := after("-u"); at != "redis://"+s.Redis.Addr() {
			s.t.Errorf("%s goes to %s", f.Command, at)
		}
		name := after("SET")
		s.tell(map[string]string{"maxmemory-policy": "maxmemory_policy", "appendonly": "aof_enabled"}[name],
			strings.Replace(after(name), "yes", "1", 1))
	case words[0] == "curl":
		_, body, _ := strings.Cut(f.Command, "-d '")
		body, url, _ := strings.Cut(body, "' ")
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, url, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			s.t.Fatalf("%s: %v %v", f.Command, resp, err)
		}
		resp.Body.Close()
	default:
		s.t.Fatalf("cannot type %q", f.Command)
	}
}

// alter sets settings, a comma list.
func (s *site) alter(topic, settings string) {
	s.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(s.brokers.Addrs...))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	for setting := range strings.SplitSeq(settings, ",") {
		name, value, _ := strings.Cut(setting, "=")
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = name, kmsg.StringPtr(value)
		resource.Configs = append(resource.Configs, config)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(s.t.Context(), c)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		s.t.Fatalf("%+v, %v", resp, err)
	}
}

const nowhere = "127.0.0.1:1" // nobody listens there

// Each fault is provoked, what the check says is done, and then it is gone.
func TestEachAdviceHelps(t *testing.T) {
	follow := func(s *site, f finding) { s.follow(f) }
	setting := func(name, value string) func(*site, finding) {
		return func(s *site, f finding) {
			if !strings.Contains(f.Advice, name) {
				s.t.Errorf("%s is not in the advice %q", name, f.Advice)
			}
			s.env[name] = value
		}
	}
	heal := func(s *site, _ finding) { s.API.Heal() }
	told := func(name, value string) func(*site, finding) {
		return func(s *site, _ finding) { s.tell(name, value) }
	}
	with := func(name, value string) func(*site) { return func(s *site) { s.env[name] = value } }
	says := func(name, value string) func(*site) { return func(s *site) { s.tell(name, value) } }
	mayDo := func(operations ...kfake.ACL) publishtest.KafkaOptions {
		return publishtest.KafkaOptions{Rights: append(operations,
			publishtest.May(kmsg.ACLOperationAll, kmsg.ACLResourceTypeCluster, "kafka-cluster"),
			publishtest.May(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, world.Topic),
			publishtest.May(kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeTopic, world.Topic),
		)}
	}
	topicWith := func(name, value string) func(*site) {
		return func(s *site) {
			s.move(publishtest.KafkaOptions{Brokers: 3, TopicSettings: map[string]string{name: value}})
		}
	}

	const dead = "shifts-dlq"
	withLetters := func(settings map[string]string) func(*site) {
		return func(s *site) {
			s.env["DLQ_TOPIC"] = dead
			if err := s.Kafka.CreateTopic(dead, 1, settings); err != nil {
				s.t.Fatal(err)
			}
		}
	}

	for _, c := range []struct {
		claim string
		name  string
		spoil func(*site)
		want  verdict
		cure  func(*site, finding)
	}{
		{"a setting of the old program", "settings", with("LENSES_HOST", "http://lenses"), verdictWarn,
			func(s *site, _ finding) { delete(s.env, "LENSES_HOST") }},

		{"a wrong address of the API", "api_reached", with("WIW_URL", "http://"+nowhere), verdictFail,
			func(s *site, f finding) { setting("WIW_URL", s.APIURL)(s, f) }},
		{"the API is broken", "api_reached", func(s *site) { s.API.Fail(-1, wiwtest.Status(503, ``)) }, verdictFail, heal},
		{"the API is throttling", "api_reached", func(s *site) { s.API.Fail(-1, wiwtest.Throttled("")) }, verdictFail, heal},
		{"another token", "api_token", func(s *site) { s.API.SetToken("the-new-token") }, verdictFail, setting("WIW_KEY", "the-new-token")},
		{"no rights", "api_rights", func(s *site) {
			s.API.Fail(-1, func(w http.ResponseWriter, r *http.Request, a *wiwtest.Answer) {
				if r.Header.Get("W-UserId") != "7" {
					wiwtest.Status(403, `{"error":"You do not have permission to do this.","code":3005}`)(w, r, a)
					return
				}
				a.Write(w)
			})
		}, verdictFail, setting("WIW_USER_ID", "7")},
		{"long windows are cut", "api_window", func(s *site) {
			s.API.Fail(-1, wiwtest.Altered(func(a *wiwtest.Answer) {
				if most := a.Start.Add(24 * time.Hour); a.End.After(most) {
					a.End = most
				}
			}))
		}, verdictFail, setting("WIW_SLICE_DAYS", "1")},
		{"another time there", "api_clock", func(s *site) {
			s.API.Fail(-1, func(w http.ResponseWriter, _ *http.Request, a *wiwtest.Answer) {
				w.Header().Set("Date", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
				a.Write(w)
			})
		}, verdictWarn, heal},
		{"no shifts", "api_shifts", func(s *site) {
			s.API.Fail(-1, wiwtest.Altered(func(a *wiwtest.Answer) { a.Shifts = nil }))
		}, verdictWarn, heal},
		{"a bad shift", "api_shifts", func(s *site) {
			s.API.PutJSON(5, time.Now(), time.Now().Add(time.Hour), `{"id":5}`)
		}, verdictWarn, func(s *site, _ finding) { s.API.Delete(5) }},
		{"many bad shifts", "api_shifts", func(s *site) {
			for id := range int64(20) {
				s.API.PutJSON(id+1, time.Now(), time.Now().Add(time.Hour), `{"id":5}`)
			}
		}, verdictFail, func(s *site, f finding) {
			if !strings.Contains(f.Advice, "BAD_SHARE") {
				t.Errorf("got %q", f.Advice)
			}
			for id := range int64(20) {
				s.API.Delete(id + 1)
			}
		}},
		{"an answer that breaks off", "api_shifts", func(s *site) { s.API.Fail(-1, wiwtest.CutOff(0.5)) }, verdictFail, heal},

		{"a wrong address of Redis", "redis_reached", with("REDIS_HOST", "redis://"+nowhere), verdictFail,
			func(s *site, f finding) { setting("REDIS_HOST", "redis://"+s.Redis.Addr())(s, f) }},
		{"wrong nodes of a Redis Cluster", "redis_reached", with("REDIS_CLUSTER_ADDRS", nowhere), verdictFail,
			func(s *site, f finding) { setting("REDIS_CLUSTER_ADDRS", s.Redis.Addr())(s, f) }},
		{"no password for Redis", "redis_reached", func(s *site) { s.Redis.RequireAuth("hush") }, verdictFail,
			func(s *site, f finding) { setting("REDIS_HOST", "redis://:hush@"+s.Redis.Addr())(s, f) }},
		{"a wrong password for Redis", "redis_reached", func(s *site) {
			s.Redis.RequireAuth("hush")
			s.env["REDIS_HOST"] = "redis://:hash@" + s.Redis.Addr()
		}, verdictFail, func(s *site, f finding) {
			if !strings.Contains(f.Seen, "the password in REDIS_HOST is refused") {
				s.t.Errorf("got %+v", f)
			}
			s.env["REDIS_HOST"] = "redis://:hush@" + s.Redis.Addr()
		}},
		{"no right to ping", "redis_reached", func(s *site) { s.refuse("PING") }, verdictFail, func(s *site, f finding) {
			if !strings.HasSuffix(f.Command, "ACL SETUSER <user> +ping") {
				s.t.Errorf("got %q", f.Command)
			}
			s.refuse("")
		}},
		{"an old Redis", "redis_version", says("redis_version", "4.0.14"), verdictFail, told("redis_version", "5.0.0")},
		{"a Redis that says nothing", "redis_version", func(s *site) { s.refuse("INFO") }, verdictWarn, func(s *site, _ finding) { s.refuse("") }},
		{"a replica", "redis_role", says("role", "slave"), verdictFail, told("role", "master")},
		{"no scripts", "redis_scripts", func(s *site) { s.refuse("EVAL") }, verdictFail, func(s *site, _ finding) { s.refuse("") }},
		{"eviction", "redis_eviction", says("maxmemory_policy", "allkeys-lru"), verdictWarn, follow},
		{"no append-only file", "redis_append_only", says("aof_enabled", "0"), verdictWarn, follow},
		{"a full Redis", "redis_memory", says("maxmemory", "1000"), verdictFail, told("maxmemory", "5000")},
		{"an almost full Redis", "redis_memory", says("maxmemory", "1001"), verdictWarn, told("maxmemory", "5000")},
		{"as many intents as there may be", "redis_intents", func(s *site) {
			s.Redis.HSet("slotsync:{kfake/shifts}:intents", "1", "x", "2", "x")
			s.env["PENDING_LIMIT"] = "2"
		}, verdictWarn, setting("PENDING_LIMIT", "3")},
		{"intents of another cluster", "redis_intents", func(s *site) { s.Redis.HSet("slotsync:{old/shifts}:intents", "1", "x") }, verdictWarn,
			func(s *site, _ finding) { s.Redis.Del("slotsync:{old/shifts}:intents") }},

		{"no broker there", "kafka_brokers", with("KAFKA_BROKERS", nowhere), verdictFail,
			func(s *site, f finding) { setting("KAFKA_BROKERS", s.Kafka.Addrs[0])(s, f) }},
		{"one of two is not there", "kafka_brokers", func(s *site) { s.env["KAFKA_BROKERS"] += "," + nowhere }, verdictWarn,
			func(s *site, f finding) { setting("KAFKA_BROKERS", s.Kafka.Addrs[0])(s, f) }},
		{"brokers of two clusters", "kafka_cluster", func(s *site) {
			here := s.env["KAFKA_BROKERS"]
			s.move(publishtest.KafkaOptions{ClusterID: "there"})
			s.env["KAFKA_BROKERS"] += "," + here
		}, verdictFail, func(s *site, f finding) { setting("KAFKA_BROKERS", s.brokers.Addrs[0])(s, f) }},
		{"no topic", "kafka_topic", func(s *site) { s.move(publishtest.KafkaOptions{Topic: "another"}) }, verdictFail, follow},
		{"a partition that is not there", "kafka_topic", with("KAFKA_PARTITION", "3"), verdictFail,
			func(s *site, f finding) {
				if found, _, _ := s.check(); unrelated(found, "kafka_topic") {
					s.t.Errorf("it is found more than once: %+v", found)
				}
				setting("KAFKA_PARTITION", "2")(s, f)
			}},
		{"no right to write", "kafka_write", func(s *site) { s.move(mayDo()) }, verdictFail, follow},
		{"no right to the fence", "kafka_fence", func(s *site) { s.move(mayDo()) }, verdictWarn, follow},
		{"no fence", "kafka_fence", with("KAFKA_TRANSACTIONAL_ID", "off"), verdictWarn, setting("KAFKA_TRANSACTIONAL_ID", "")},
		{"no right to see settings", "kafka_settings", func(s *site) {
			s.move(publishtest.KafkaOptions{Rights: []kfake.ACL{
				publishtest.May(kmsg.ACLOperationAll, kmsg.ACLResourceTypeCluster, "kafka-cluster"),
				publishtest.May(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, world.Topic),
			}, TopicSettings: map[string]string{"cleanup.policy": "compact"}})
		}, verdictWarn, follow},
		{"a topic that is not compacted", "kafka_cleanup", topicWith("cleanup.policy", "delete"), verdictWarn, follow},
		{"records that do not last", "kafka_cleanup", func(s *site) {
			s.move(publishtest.KafkaOptions{TopicSettings: map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "3600000"}})
		}, verdictWarn, follow},
		{"one acknowledgement of three", "kafka_min_insync", topicWith("min.insync.replicas", "1"), verdictWarn, follow},
		{"more acknowledgements than replicas", "kafka_min_insync", topicWith("min.insync.replicas", "4"), verdictFail, follow},
		{"small records only", "kafka_record_size", topicWith("max.message.bytes", "10000"), verdictWarn, follow},
		{"a topic that was made anew", "kafka_log_ends", func(s *site) {
			s.pass()
			s.move(publishtest.KafkaOptions{}) // of the same name: kfake's clusters are all called alike
		}, verdictWarn, func(s *site, _ finding) { s.pass() }},
		{"a fence that is soon forgotten", "kafka_fence_memory", func(s *site) {
			s.move(publishtest.KafkaOptions{Settings: map[string]string{"transactional.id.expiration.ms": "179000"}})
		}, verdictWarn, func(s *site, _ finding) {
			s.env["SYNC_SLEEP_PERIOD_SECONDS"] = "86400" // a worker that waits for so long renews it meanwhile
			s.move(publishtest.KafkaOptions{Settings: map[string]string{"transactional.id.expiration.ms": "180000"}})
		}},
		{"another layout", "kafka_layout", func(s *site) { s.pass(); s.env["KAFKA_PARTITION"] = "0" }, verdictFail,
			func(s *site, f finding) {
				if !strings.Contains(f.Advice, "--accept-layout") {
					t.Errorf("got %q", f.Advice)
				}
				s.pass("--accept-layout")
			}},
		{"no topic for dead letters", "kafka_dlq", with("DLQ_TOPIC", dead), verdictFail, follow},
		{"no right to write dead letters", "kafka_dlq", func(s *site) {
			s.env["DLQ_TOPIC"] = dead
			s.move(mayDo(publishtest.May(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, dead),
				publishtest.May(kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeTopic, dead)))
			if err := s.brokers.CreateTopic(dead, 1, nil); err != nil {
				s.t.Fatal(err)
			}
		}, verdictFail, follow},
		{"no right to see the settings of dead letters", "kafka_dlq", func(s *site) {
			s.env["DLQ_TOPIC"] = dead
			s.move(mayDo(publishtest.May(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, dead)))
			if err := s.brokers.CreateTopic(dead, 1, nil); err != nil {
				s.t.Fatal(err)
			}
		}, verdictWarn, follow},
		{"dead letters that are compacted", "kafka_dlq", withLetters(map[string]string{"cleanup.policy": "compact"}), verdictWarn, follow},
		{"dead letters that do not last", "kafka_dlq", withLetters(map[string]string{"retention.ms": "3600000"}), verdictWarn, follow},
		{"dead letters that are cut", "kafka_dlq", withLetters(map[string]string{"max.message.bytes": "10000"}), verdictWarn, follow},
		{"a topic for dead letters that fits in nothing", "kafka_dlq", withLetters(map[string]string{
			"cleanup.policy": "compact,delete", "retention.ms": "3600000", "max.message.bytes": "10000",
		}), verdictWarn, follow},

		{"no registry there", "registry_reached", with("AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", "http://"+nowhere), verdictFail,
			func(s *site, f finding) { setting("AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", s.Registry.URL())(s, f) }},
		{"a registry that wants a login", "registry_login", func(s *site) {
			locked := srfake.New(srfake.WithAuth("Bearer right-token"))
			s.t.Cleanup(locked.Close)
			s.env["AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"] = locked.URL()
		}, verdictFail, setting("SCHEMA_REGISTRY_TOKEN", "right-token")},
		{"a key that cannot be evolved", "registry_key", func(s *site) {
			s.Registry.SeedSchema("shifts-key", 1, 11, sr.Schema{Schema: strings.Replace(schemas.Key("old"), "long", "int", 1)})
			s.strict("shifts-key")
		}, verdictFail, follow},
		{"a key that may not be registered", "registry_key", with("REGISTER_SCHEMAS", "false"), verdictFail, setting("REGISTER_SCHEMAS", "true")},
		{"a value that may not be registered", "registry_value", func(s *site) {
			s.Registry.SeedSchema("shifts-key", 1, 11, sr.Schema{Schema: schemas.Key("old")})
			s.Registry.SeedSchema("shifts-value", 1, 21, sr.Schema{Schema: schemas.Value2018("old")})
			s.env["REGISTER_SCHEMAS"] = "false"
		}, verdictWarn, setting("REGISTER_SCHEMAS", "true")},
		{"a window that takes longer than a check", "api_shifts", func(s *site) {
			maps.Copy(s.env, env{"WIW_RATE": "1", "SYNC_DAYS_AHEAD": "5", "WIW_SLICE_DAYS": "2"})
		}, verdictWarn, setting("SYNC_DAYS_AHEAD", "1")},
		{"a value that cannot be evolved", "registry_compatibility", func(s *site) {
			s.Registry.SeedSchema("shifts-value", 1, 21, sr.Schema{Schema: schemas.Value2018("old")})
			s.strict("shifts-value")
		}, verdictWarn, follow},

		{"no agent", "statsd", with("STATSD_HOST", "127.0.0.1"), verdictWarn, func(s *site, f finding) {
			l, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s.t.Cleanup(func() { l.Close() })
			setting("STATSD_PORT", fmt.Sprint(l.LocalAddr().(*net.UDPAddr).Port))(s, f)
		}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			c.spoil(s)
			found, _, code := s.check()
			f := found[c.name]
			if wantCode := map[verdict]int{verdictWarn: 0, verdictFail: 1}[c.want]; f.Verdict != c.want || f.Advice == "" || code != wantCode && !unrelated(found, c.name) {
				t.Fatalf("got %+v, exit %d, want %s", f, code, c.want)
			}
			c.cure(s, f)
			if found, _, _ := s.check(); found[c.name].Verdict != verdictOK && found[c.name].Verdict != foreseeable(c.name) {
				t.Errorf("after doing what it says: %+v", found[c.name])
			}
		})
	}
}

// unrelated tells whether another check failed for the same reason.
func unrelated(found map[string]finding, name string) bool {
	for other, f := range found {
		if other != name && f.Verdict == verdictFail {
			return true
		}
	}
	return false
}

// foreseeable is how a cured check may end, beside ok: a key that can be evolved is still to be told about.
func foreseeable(name string) verdict {
	if name == "registry_key" {
		return verdictWarn
	}
	return verdictOK
}

// strict makes the registry find nothing compatible with a subject, until its level is lowered.
func (s *site) strict(subject string) {
	if err := s.Registry.SetCompat(subject, sr.CompatFull); err != nil {
		s.t.Fatal(err)
	}
	s.incompatible(subject)
}

// incompatible makes the registry find nothing compatible with a subject, until its level is set.
func (s *site) incompatible(subject string) {
	lowered := false
	s.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodPut && req.URL.Path == "/config/"+subject {
			lowered = true
		}
		if lowered || !strings.HasPrefix(req.URL.Path, "/compatibility/subjects/"+subject+"/") {
			return false
		}
		fmt.Fprint(w, `{"is_compatible":false}`)
		return true
	})
}

func TestAWorldThatIsWell(t *testing.T) {
	s := newSite(t)
	for _, when := range []string{"before the first pass", "after it"} {
		found, _, code := s.check()
		if code != 0 || len(found) != len(checks()) {
			t.Errorf("%s: exit %d, %d of %d checks", when, code, len(found), len(checks()))
		}
		for name, f := range found {
			if f.Verdict != verdictOK || f.Seen == "" || f.Advice != "" || f.Command != "" {
				t.Errorf("%s: %s: got %+v", when, name, f)
			}
		}
		s.pass()
	}
}

// Somebody checks while a worker is at work: nothing may move.
func TestACheckTouchesNothing(t *testing.T) {
	s := newSite(t)
	s.pass()
	s.Redis.Set("slot:1", "{}")
	for range 3 {
		s.API.Churn(5) // a worker would publish these
	}
	before, messages := s.Redis.Dump(), len(consume(t, s.World))
	var mu sync.Mutex // guards keys
	keys := map[int16]int{}
	s.Kafka.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		s.Kafka.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		keys[r.Key()]++
		return nil, nil, false
	})
	var written []string
	s.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet && (strings.HasSuffix(r.URL.Path, "/versions") || r.Method != http.MethodPost) {
			written = append(written, r.Method+" "+r.URL.Path)
		}
		return false
	})
	for _, args := range [][]string{{}, {"--migrate"}} {
		if _, _, code := s.check(args...); code != 0 {
			t.Fatalf("exit %d", code)
		}
	}
	if after := s.Redis.Dump(); after != before {
		t.Errorf("Redis was\n%s\nand is\n%s", before, after)
	}
	mu.Lock()
	sent := maps.Clone(keys)
	mu.Unlock()
	if keys := sent; len(keys) < 5 || keys[int16(kmsg.InitProducerID)] != 0 || keys[int16(kmsg.Produce)] != 0 || keys[int16(kmsg.CreateTopics)] != 0 || keys[int16(kmsg.AddPartitionsToTxn)] != 0 {
		t.Errorf("requests to Kafka by key: %v", keys)
	}
	if now := len(consume(t, s.World)); now != messages || len(written) > 0 {
		t.Errorf("the topic had %d records and has %d; to the registry went %v", messages, now, written)
	}
}

func TestDependenciesThatAreSilentAreWaitedForTogether(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	at := silent.Addr().String()
	s.env["WIW_URL"], s.env["REDIS_HOST"], s.env["KAFKA_BROKERS"] = "http://"+at, "redis://"+at, at
	s.env["AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"] = "http://" + at
	const patience = time.Second
	began := time.Now()
	seen := gather(t.Context(), loadOK(t, s.env, "check"), patience)
	if took := time.Since(began); took > 3*patience {
		t.Errorf("took %s, one after the other", took)
	}
	for _, c := range checks() {
		if strings.HasSuffix(c.name, "_reached") || c.name == "kafka_brokers" {
			if f := c.judge(seen); f.Verdict != verdictFail || f.Advice == "" {
				t.Errorf("%s: got %+v", c.name, f)
			}
		}
	}
}

// The API answers, and the window is longer than we have time for.
func TestTheEndOfOurPatienceIsNoFaultOfTheAPI(t *testing.T) {
	t.Parallel()
	for claim, spoil := range map[string]func(*site){
		"the next turn would come too late": func(s *site) { s.env["WIW_RATE"] = "1" },
		"so it would behind an empty answer": func(s *site) {
			s.env["WIW_RATE"] = "1"
			s.API.Fail(-1, wiwtest.Altered(func(a *wiwtest.Answer) { a.Shifts = nil }))
		},
		"the second answer is long in coming": func(s *site) {
			asked := 0
			s.API.Fail(-1, func(w http.ResponseWriter, r *http.Request, a *wiwtest.Answer) {
				if asked++; asked > 1 {
					<-r.Context().Done()
					return
				}
				a.Write(w)
			})
		},
	} {
		s := newSite(t)
		maps.Copy(s.env, env{"SYNC_DAYS_AHEAD": "5", "WIW_SLICE_DAYS": "2"})
		spoil(s)
		seen := gather(t.Context(), loadOK(t, s.env, "check"), 2*time.Second)
		for _, c := range apiChecks() {
			want := verdictOK
			if c.name == "api_shifts" {
				want = verdictWarn
			}
			if f := c.judge(seen); f.Verdict != want || want == verdictWarn && !strings.Contains(f.Seen, "and more to come") {
				t.Errorf("%s: %s: got %+v, want %s", claim, c.name, f, want)
			}
		}
	}
}

func TestAdviceIsNotToSetWhatIsSet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Registry.SeedSchema("shifts-value", 1, 21, sr.Schema{Schema: schemas.Value2018("old")})
	s.incompatible("shifts-value")
	for level, command := range map[sr.CompatibilityLevel]bool{sr.CompatFullTransitive: true, sr.CompatFull: true, sr.CompatBackward: false, sr.CompatNone: false} {
		if err := s.Registry.SetCompat("shifts-value", level); err != nil {
			t.Fatal(err)
		}
		found, _, _ := s.check()
		if f := found["registry_compatibility"]; f.Verdict != verdictWarn || (f.Command != "") != command {
			t.Errorf("under %s: got %+v, want a command: %v", level, f, command)
		}
	}
}

func TestARoleThatIsNotToldIsNotTakenForGranted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.refuse("INFO")
	found, _, _ := s.check()
	if f := found["redis_role"]; f.Verdict != verdictWarn || f.Seen != "not told" || !strings.Contains(f.Advice, "INFO") {
		t.Errorf("got %+v", f)
	}
}

func TestCreateTopic(t *testing.T) {
	s := newSite(t)
	s.move(publishtest.KafkaOptions{Topic: "another"})
	if found, _, code := s.check(); code != 1 || found["kafka_topic"].Verdict != verdictFail {
		t.Fatalf("got %+v, exit %d", found["kafka_topic"], code)
	}
	found, _, code := s.check("--create-topic", "--replication-factor", "9")
	if f := found["create_topic"]; code != 1 || f.Verdict != verdictFail || !strings.Contains(f.Advice, "--replication-factor") || f.Command != "" || unrelated(found, "create_topic") {
		t.Errorf("more replicas than brokers: got %+v, exit %d", f, code)
	}
	found, _, code = s.check("--create-topic", "--partitions", "5", "--replication-factor", "1")
	if f := found["create_topic"]; code != 0 || f.Verdict != verdictOK || !strings.Contains(f.Seen, "5 partitions") || !strings.Contains(f.Seen, "compact") {
		t.Errorf("got %+v, exit %d", f, code)
	}
	if f := found["kafka_topic"]; !strings.Contains(f.Seen, "5 partitions") || found["kafka_cleanup"].Verdict != verdictOK {
		t.Errorf("got %+v, %+v", f, found["kafka_cleanup"])
	}
	found, _, code = s.check("--create-topic", "--partitions", "9")
	if f := found["create_topic"]; code != 0 || !strings.Contains(f.Seen, "already and was left as it is, whatever --partitions 9 ask") || !strings.Contains(found["kafka_topic"].Seen, "5 partitions") {
		t.Errorf("again: got %+v, exit %d", f, code)
	}
	s.env["DLQ_TOPIC"] = "shifts-dlq"
	found, _, code = s.check("--create-topic")
	if f := found["create_dlq_topic"]; code != 0 || f.Seen != "shifts-dlq: 1 partition, replicas as the cluster's default has it, kept for 30 days" {
		t.Errorf("dead letters: got %+v, exit %d", f, code)
	}
	if f := found["kafka_dlq"]; f.Verdict != verdictOK || f.Seen != "shifts-dlq, letters are kept for 30 days" {
		t.Errorf("dead letters: got %+v", f)
	}
	if found, _, code = s.check("--create-topic"); code != 0 || found["create_dlq_topic"].Seen != "shifts-dlq is there already and was left as it is" {
		t.Errorf("dead letters again: got %+v, exit %d", found["create_dlq_topic"], code)
	}
	for topic, said := range map[string]bool{"unsaid": false, "said": true} {
		s.env["KAFKA_TOPIC_NAME"] = topic
		args := []string{"--create-topic"}
		if said {
			args = append(args, "--partitions", "1")
		}
		found, _, _ = s.check(args...)
		f := found["create_topic"]
		if want := map[bool]verdict{true: verdictOK, false: verdictWarn}[said]; f.Verdict != want || strings.Contains(f.Advice, "--partitions") == said || strings.Contains(f.Seen, "as the cluster's default has it, replicas") {
			t.Errorf("%s: got %+v, want %s", topic, f, want)
		}
		if n := strings.TrimPrefix(found["kafka_topic"].Seen, topic+", "); !strings.Contains(f.Seen, topic+": "+n) || n == "1 partitions" {
			t.Errorf("%s: got %q, want the %s in it", topic, f.Seen, n)
		}
	}
	for _, args := range [][]string{{"--partitions", "3"}, {"--create-topic", "--partitions", "0"}, {"--create-topic", "--partitions", "many"}} {
		if _, code := s.call(append([]string{"check"}, args...)...); code != 2 {
			t.Errorf("%v: exit %d, want 2", args, code)
		}
	}
}

// What --migrate foresees is what the first pass then does.
func TestMigrateForeseesTheFirstDay(t *testing.T) {
	s := newSite(t)
	s.Registry.SeedSchema("shifts-key", 1, 11, sr.Schema{Schema: schemas.Key("old")})
	s.Registry.SeedSchema("shifts-value", 1, 21, sr.Schema{Schema: schemas.Value2018("old")})
	for i := range 7 {
		s.Redis.Set(fmt.Sprint("slot:", i), "{}")
	}
	maps.Copy(s.env, env{"LENSES_HOST": "http://lenses", "SYNC_DAYS_PRIOR": "-1"})
	foresee := func() *migration {
		t.Helper()
		_, m, code := s.check("--migrate")
		if code != 0 || m == nil {
			t.Fatalf("got %+v, exit %d", m, code)
		}
		return m
	}
	m := foresee()
	if m.Records != len(truth(s.World)) || m.Shifts != m.Records || m.Remembered != 0 || m.KeyType != "long" || len(m.FieldsAdded) != 8 || m.OldKeys != 7 || !m.OldKeysAll {
		t.Errorf("got %+v", m)
	}
	for _, want := range []string{"LENSES_HOST", "SYNC_DAYS_PRIOR is negative", "KAFKA_PARTITION=0", "EXPIRE_CACHE"} {
		if !slices.ContainsFunc(m.Remarks, func(r string) bool { return strings.Contains(r, want) }) {
			t.Errorf("%s is not in the remarks %q", want, m.Remarks)
		}
	}
	s.pass()
	counts, size := map[int]int{}, 0
	for _, r := range consume(t, s.World) {
		counts[r.Partition]++
		size += len(r.Key) + len(r.Value)
	}
	for _, l := range m.Spread {
		if counts[l.Partition] != l.Records {
			t.Errorf("partition %d: foreseen %d, were %d", l.Partition, l.Records, counts[l.Partition])
		}
	}
	if len(m.Spread) != 3 || m.Bytes < size || m.Bytes > 3*size {
		t.Errorf("foreseen %v and %d bytes, were %v and %d", m.Spread, m.Bytes, counts, size)
	}
	if m := foresee(); m.Records != 0 || m.Remembered != m.Shifts {
		t.Errorf("after the first pass: got %+v", m)
	}
	s.env["KAFKA_PARTITION"] = "2"
	if _, m, _ := s.check("--migrate"); m.Spread[2].Records != m.Shifts {
		t.Errorf("to one partition: got %+v", m.Spread)
	}
}

func TestTheTextFitsThePage(t *testing.T) {
	s := newSite(t)
	s.env["KAFKA_BROKERS"], s.env["STATSD_HOST"] = nowhere, "127.0.0.1"
	s.tell("maxmemory_policy", "allkeys-lru")
	text, code := s.call("check", "--migrate")
	if code != 1 || strings.Contains(text, "\x1b") {
		t.Errorf("exit %d, or colours where no terminal is", code)
	}
	for _, want := range []string{"\nRedis\n", "  FAIL  brokers", "  warn  eviction", "more not looked at", "redis-cli -u redis://", "The first day", " FAIL, "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > pageWidth && len(strings.Fields(line)) > 4 && !strings.HasPrefix(line, "        ") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestEveryCheckHasANameOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range checks() {
		if seen[c.name] || c.group == "" || c.title == "" || len(c.title) > titleWidth {
			t.Errorf("got %+v", c)
		}
		seen[c.name] = true
	}
	if len(seen) < 30 {
		t.Errorf("only %d checks", len(seen))
	}
}

func TestColours(t *testing.T) {
	var plain, coloured bytes.Buffer
	r := &checkReport{Checks: []finding{{Verdict: verdictOK, Seen: "a"}, {Verdict: verdictFail, Seen: "b"}}}
	if err := r.text(&plain, false); err != nil {
		t.Fatal(err)
	}
	if err := r.text(&coloured, true); err != nil {
		t.Fatal(err)
	}
	bare := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[0m", "").Replace(coloured.String())
	if coloured.String() == plain.String() || bare != plain.String() {
		t.Errorf("got %q and %q", plain.String(), coloured.String())
	}
}

func TestWhatIsToBeTypedGoesToTheRightServer(t *testing.T) {
	for address, want := range map[string]string{
		"redis://localhost:6380":              "redis-cli -u redis://localhost:6380",
		"rediss://:hush@redis.example:6379/2": "redis-cli -u rediss://redis.example:6379/2 --askpass",
		"redis://slotsync:hush@localhost":     "redis-cli -u redis://localhost --user <admin> --askpass",
		"unix:///run/redis.sock":              "redis-cli -s /run/redis.sock",
		"unix://:hush@/run/redis.sock":        "redis-cli -s /run/redis.sock --askpass",
	} {
		if got := redisCLI(&facts{cfg: loadOK(t, minimal(env{"REDIS_HOST": address}), "check")}); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

// Whoever is stopped while a dependency is silent has found nothing wrong with it.
func TestAnInterruptedCheckBlamesNobody(t *testing.T) {
	s := newSite(t)
	silent, asked := silence(t)
	s.env["WIW_URL"] = "http://" + silent
	ctx, stop := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		stop(errors.New("terminated signal received"))
	}()
	var out, stderr bytes.Buffer
	err := run(ctx, []string{"check"}, s.env.get, &out, &stderr)
	if exitCode(err) != 1 || !strings.Contains(fmt.Sprint(err), "interrupted") || !strings.Contains(fmt.Sprint(err), "terminated signal received") || out.Len() > 0 {
		t.Errorf("got exit %d, %v, and\n%s", exitCode(err), err, &out)
	}
}

func TestTheTimeThatIsToldIsTheTimeThatWasWaited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	silent, _ := silence(t)
	s.env["WIW_URL"], s.env["AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"] = "http://"+silent, "http://"+silent
	began := time.Now()
	seen := gather(t.Context(), loadOK(t, s.env, "check"), time.Second)
	most := time.Since(began)
	for name, f := range map[string]finding{"the API": judgeReached(seen), "the registry": judgeRegistry(seen)} {
		_, text, _ := strings.Cut(f.Seen, "no answer within ")
		told, err := time.ParseDuration(text)
		if f.Verdict != verdictFail || err != nil || told < 900*time.Millisecond || told > most.Round(100*time.Millisecond) {
			t.Errorf("%s: got %+v after %s at most, of which a second was given", name, f, most)
		}
	}
}

// silence is an address that takes connections and says nothing. Asked is closed when there was the first one.
func silence(t *testing.T) (address string, asked <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if n == 0 {
				close(first)
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String(), first
}

func TestWhatIsSaidOfAToken(t *testing.T) {
	at := func(from time.Duration) time.Time { return time.Now().Add(from) }
	login := env{"WIW_KEY": "", "WIW_DEVELOPER_KEY": "d", "WIW_EMAIL": "a@b", "WIW_PASSWORD": "p"}
	refused := &wiw.StatusError{Status: http.StatusUnauthorized}
	away := errors.New("connection refused")
	for _, c := range []struct {
		claim  string
		env    env
		api    apiFacts
		want   verdict
		seen   string
		advice string
	}{
		{"accepted", nil, apiFacts{}, verdictOK, "does not say when it ends", ""},
		{"accepted for long", nil, apiFacts{tokenEnds: at(100 * time.Hour)}, verdictOK, "accepted, and ends 2", ""},
		{"accepted for a day", nil, apiFacts{tokenEnds: at(24 * time.Hour)}, verdictWarn, "accepted, and ends 2", "WIW_KEY"},
		{"accepted for a day, of a login", login, apiFacts{tokenEnds: at(24 * time.Hour)}, verdictOK, "accepted, and ends 2", ""},
		{"accepted by another clock", nil, apiFacts{tokenEnds: at(-time.Hour)}, verdictWarn, "by this machine's clock it ended", "NTP"},
		{"over and refused", nil, apiFacts{tokenEnds: at(-time.Hour), err: refused}, verdictFail, "it ended 2", "WIW_KEY"},
		{"over, and nobody there", nil, apiFacts{tokenEnds: at(-time.Hour), err: away}, verdictFail, "it ended 2", "WIW_KEY"},
		{"for a day, and nobody there", nil, apiFacts{tokenEnds: at(24 * time.Hour), err: away}, verdictWarn, "it ends 2", "WIW_KEY"},
		{"nobody there", nil, apiFacts{err: away}, verdictSkip, "", ""},
		{"refused, and good for long", nil, apiFacts{tokenEnds: at(100 * time.Hour), err: refused}, verdictFail, "by its own words it ends 2", "of this API"},
		{"refused, from a file", env{"WIW_KEY": "", "WIW_KEY_FILE": file(t, "t")}, apiFacts{err: refused}, verdictFail, "401", "set WIW_KEY_FILE"},
		{"a login's, refused", login, apiFacts{err: refused}, verdictFail, "a new one is refused", "WIW_LOGIN_URL"},
		{"a refused login", login, apiFacts{err: refused, login: refused}, verdictFail, "401", "WIW_PASSWORD"},
		{"nobody to log in at", login, apiFacts{err: away, login: &net.OpError{Op: "dial", Err: away}}, verdictFail, "refused", "see that WIW_LOGIN_URL is right, and"},
	} {
		f := judgeToken(&facts{cfg: loadOK(t, minimal(c.env), "check"), api: c.api})
		if f.Verdict != c.want || !strings.Contains(f.Seen, c.seen) || !strings.Contains(f.Advice, c.advice) || (f.Advice == "") != (c.advice == "") {
			t.Errorf("%s: got %+v, want %s, %q, %q", c.claim, f, c.want, c.seen, c.advice)
		}
	}
}

func TestTextIsBrokenAtTheEdgeOfThePage(t *testing.T) {
	if got := widthOf(new(bytes.Buffer)); got != pageWidth {
		t.Errorf("where no terminal is: %d columns", got)
	}
	for _, width := range []int{leastWidth, pageWidth, 130} {
		lines := strings.Split(wrapped(strings.Repeat("word ", 100), width, margin, margin), "\n")
		if longest := len(lines[1]); len(lines) < 3 || longest > width || longest < width-len(" word") {
			t.Errorf("%d columns: a line has %d", width, longest)
		}
	}
}

func TestACheckAsksWhetherTheBrokerIsRunning(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := call(t, start(t, world.Options{Shifts: 5}), map[string]string{"KAFKA_BROKERS": "127.0.0.1:1"}, "check", "--json")
	if code != 1 || !strings.Contains(stdout, `"advice": "is the broker running? `) {
		t.Errorf("got status %d\n%s%s", code, stdout, stderr)
	}
}
