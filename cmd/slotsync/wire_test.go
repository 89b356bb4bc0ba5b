package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/schemas"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// scene is a world, and what the program does in it as those around it see it.
type scene struct {
	*testing.T
	*world.World

	mu       sync.Mutex // guards all below
	ids      []string   // transactional ids that asked for an epoch; empty: none
	codecs   []int      // of the record batches that were sent
	logins   []string   // to the registry
	leasedTo string     // the name in the lease while the API is asked
}

// look starts a world of 20 shifts and looks on.
func look(t *testing.T) *scene {
	s := &scene{T: t, World: start(t, world.Options{Shifts: 20, Partitions: 3})}
	s.Kafka.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		id := ""
		if given := req.(*kmsg.InitProducerIDRequest).TransactionalID; given != nil {
			id = *given
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ids = append(s.ids, id)
		return nil, nil, false
	})
	s.Kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		const attributes = 21 // where they are in a batch; the codec is in the last three bits
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				s.codecs = append(s.codecs, int(binary.BigEndian.Uint16(p.Records[attributes:])&7))
			}
		}
		return nil, nil, false
	})
	s.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.logins = append(s.logins, r.Header.Get("Authorization"))
		return false
	})
	return s
}

// outcome is what the operator sees of a pass.
type outcome struct {
	report map[string]any
	code   int
	log    string
	took   time.Duration
}

func (o outcome) figure(name string) int {
	n, _ := o.report[name].(float64)
	return int(n)
}

// pass runs the program once.
func (s *scene) pass(settings env, args ...string) outcome {
	s.Helper()
	began := time.Now()
	report, code, log := once(s.T, s.World, settings, args...)
	return outcome{report, code, log, time.Since(began)}
}

// is fails unless got is want.
func is[T comparable](s *scene, what string, got, want T) {
	s.Helper()
	if got != want {
		s.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// says fails unless the text has the part in it.
func says(s *scene, text, part string) {
	s.Helper()
	if !strings.Contains(text, part) {
		s.Errorf("got\n%s\nwant %q in it", text, part)
	}
}

// firstRequest returns the first question that the API was asked.
func (s *scene) firstRequest() wiwtest.Request {
	s.Helper()
	requests := s.API.Requests()
	if len(requests) == 0 {
		s.Fatal("the API was not asked")
	}
	return requests[0]
}

// ofRedis returns the content of the destination's hash with that name, as one comparable text.
func (s *scene) ofRedis(name string) string {
	s.Helper()
	for _, key := range s.Redis.Keys() {
		if strings.HasSuffix(key, ":"+name) {
			var all strings.Builder
			fields, _ := s.Redis.HKeys(key)
			for _, field := range fields {
				fmt.Fprintf(&all, "%s %x\n", field, s.Redis.HGet(key, field))
			}
			return all.String()
		}
	}
	return ""
}

// spoil adds n shifts that cannot be read.
func (s *scene) spoil(n int) {
	for i := range n {
		s.API.PutJSON(int64(i+1), time.Now(), time.Now().Add(time.Hour), fmt.Sprintf(`{"id":%d,"end_time":"soon"}`, i+1))
	}
}

// What a setting does is seen from outside: a value that gets lost on its way through the wiring must fail here.
func TestEverySettingHasItsEffect(t *testing.T) {
	t.Parallel()
	const days = 24 * time.Hour
	for _, c := range []struct {
		setting string
		see     func(s *scene)
	}{
		{"SYNC_DAYS_PRIOR and SYNC_DAYS_AHEAD are the window", func(s *scene) {
			s.pass(env{"SYNC_DAYS_PRIOR": "3", "SYNC_DAYS_AHEAD": "5"})
			asked := s.firstRequest().Query
			from, _ := time.Parse(time.RFC3339, asked.Get("start"))
			to, _ := time.Parse(time.RFC3339, asked.Get("end"))
			is(s, "days before now", time.Since(from).Round(time.Hour), 3*days)
			is(s, "days after now", time.Until(to).Round(time.Hour), 5*days)
		}},
		{"SYNC_NAME is part of the destination and of the transactional id", func(s *scene) {
			s.pass(env{"SYNC_NAME": "leeds"})
			if len(s.Redis.Keys()) == 0 {
				s.Error("nothing is in Redis")
			}
			for _, key := range s.Redis.Keys() {
				says(s, key, "/shifts/leeds}:")
			}
			is(s, "transactional id", s.ids[0], "slotsync-shifts/leeds")
		}},

		{"WIW_KEY is the token", func(s *scene) {
			s.API.SetToken("another")
			is(s, "exit with a wrong one", s.pass(nil).code, 1)
			is(s, "exit with the right one", s.pass(env{"WIW_KEY": "another"}).code, 0)
		}},
		{"WIW_USER_ID is sent", func(s *scene) {
			s.pass(env{"WIW_USER_ID": "4711"})
			is(s, "W-UserId", s.firstRequest().Header.Get("W-UserId"), "4711")
		}},
		{"WIW_INCLUDE widens the question", func(s *scene) {
			s.pass(env{"WIW_INCLUDE": "allopen,all_locations"})
			asked := s.firstRequest().Query
			is(s, "include_allopen", asked.Get("include_allopen"), "true")
			is(s, "all_locations", asked.Get("all_locations"), "true")
			is(s, "unpublished", asked.Get("unpublished"), "")
		}},
		{"WIW_SLICE_DAYS splits the window", func(s *scene) {
			s.pass(env{"WIW_SLICE_DAYS": "1"})
			is(s, "requests for three days", len(s.API.Requests()), 3)
		}},
		{"WIW_RATE slows requests down", func(s *scene) {
			o := s.pass(env{"WIW_SLICE_DAYS": "1", "WIW_RATE": "40", "SYNC_DAYS_AHEAD": "4"}) // 5 requests, 4 of them at once
			if is(s, "requests", len(s.API.Requests()), 5); o.took < 1400*time.Millisecond {
				s.Errorf("the pass took %s, want at least the 1.5 s that 40 a minute leave between two", o.took)
			}
		}},
		{"WIW_MAX_BYTES bounds an answer", func(s *scene) {
			s.API.Fail(-1, wiwtest.Oversized(70<<10))
			is(s, "exit", s.pass(nil).code, 0)
			o := s.pass(env{"WIW_MAX_BYTES": "64KiB"})
			is(s, "exit with a bound", o.code, 1)
			says(s, o.log, "65536")
		}},
		{"WIW_TIMEOUT ends a wait for the API", func(s *scene) {
			s.API.Fail(1, wiwtest.Hang())
			o := s.pass(env{"WIW_TIMEOUT": "1s"})
			if is(s, "exit", o.code, 0); o.took > 15*time.Second {
				s.Errorf("the pass took %s, want a second and a bit", o.took)
			}
		}},
		{"what is odd about the API is said", func(s *scene) {
			s.API.Fail(1, wiwtest.Replaced(`{"id":`, `{"mood":"fine","id":`))
			says(s, s.pass(nil).log, `"level":"WARN","msg":"when i work","warning":"the API sends a field that is not known here; it is ignored","field":"mood"`)
		}},

		{"KAFKA_SCHEMA_NAME is the namespace of new schemas", func(s *scene) {
			s.pass(env{"KAFKA_SCHEMA_NAME": "uk.example"})
			for _, subject := range []string{"shifts-key", "shifts-value"} {
				found, _ := s.Registry.GetSchema(subject, 1)
				says(s, found.Schema.Schema, `"namespace":"uk.example"`)
			}
		}},
		{"KAFKA_PARTITION takes all records, and is remembered", func(s *scene) {
			s.pass(env{"KAFKA_PARTITION": "1"})
			for _, r := range consume(s.T, s.World) {
				is(s, fmt.Sprintf("partition of shift %d", r.id), r.Partition, 1)
			}
			says(s, s.pass(nil).log, "compare layout") // murmur2 is another one
		}},
		{"no KAFKA_PARTITION is murmur2, and remembered as that", func(s *scene) {
			s.pass(nil)
			used := map[int]bool{}
			for _, r := range consume(s.T, s.World) {
				used[r.Partition] = true
			}
			is(s, "partitions in use", len(used), 3)
			says(s, s.pass(env{"KAFKA_PARTITION": "1"}).log, "murmur2")
		}},
		{"--accept-layout alone accepts another layout", func(s *scene) {
			all := s.pass(nil).figure("published")
			moved := env{"KAFKA_PARTITION": "1"}
			is(s, "exit without the flag", s.pass(moved).code, 1)
			is(s, "published with the flag", s.pass(moved, "--accept-layout").figure("published"), all)
		}},
		{"KAFKA_COMPRESSION is that of the batches", func(s *scene) {
			s.pass(env{"KAFKA_COMPRESSION": "zstd"})
			is(s, "codec", s.codecs[0], 4)
		}},
		{"no KAFKA_COMPRESSION is none", func(s *scene) {
			s.pass(nil)
			is(s, "codec", s.codecs[0], 0)
		}},
		{"KAFKA_TRANSACTIONAL_ID fences", func(s *scene) {
			s.pass(env{"KAFKA_TRANSACTIONAL_ID": "mine"})
			is(s, "transactional id", s.ids[0], "mine")
		}},
		{"no KAFKA_TRANSACTIONAL_ID fences too", func(s *scene) {
			s.pass(nil)
			is(s, "transactional id", s.ids[0], "slotsync-shifts")
		}},
		{"KAFKA_TRANSACTIONAL_ID=off fences nobody, and is warned of", func(s *scene) {
			o := s.pass(env{"KAFKA_TRANSACTIONAL_ID": "off"})
			is(s, "transactional id", s.ids[0], "")
			says(s, o.log, `"level":"WARN","msg":"setting","warning":"KAFKA_TRANSACTIONAL_ID is off`)
		}},
		{"what is odd about Kafka is said", func(s *scene) {
			s.Kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: "slotsync-shifts", Err: kerr.TransactionalIDAuthorizationFailed, Count: -1})
			says(s, s.pass(nil).log, `"level":"WARN","msg":"kafka","warning":"NOT FENCED`)
		}},

		{"--once asks for the cluster once, and says that it was not found", func(s *scene) {
			s.Kafka.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
				return req.ResponseKind(), nil, true // and without an id
			})
			o := s.pass(env{"SYNC_SLEEP_PERIOD_SECONDS": "0"})
			is(s, "exit", o.code, 1)
			says(s, o.log, `"level":"ERROR","msg":"ended with an error","err":"find the kafka cluster: `)
		}},

		{"SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD log in", func(s *scene) {
			s.pass(env{"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": "pw"})
			is(s, "login", s.logins[0], "Basic "+base64.StdEncoding.EncodeToString([]byte("me:pw")))
		}},
		{"SCHEMA_REGISTRY_TOKEN logs in", func(s *scene) {
			s.pass(env{"SCHEMA_REGISTRY_TOKEN": "tok"})
			is(s, "login", s.logins[0], "Bearer tok")
		}},
		{"REGISTER_SCHEMAS=false registers nothing", func(s *scene) {
			is(s, "exit", s.pass(env{"REGISTER_SCHEMAS": "false"}).code, 1)
			is(s, "a schema is registered", s.Registry.SubjectExists("shifts-value") || s.Registry.SubjectExists("shifts-key"), false)
		}},

		{"a refused user of REDIS_HOST is said", func(s *scene) {
			s.Redis.RequireAuth("pw")
			o := s.pass(env{"REDIS_HOST": "redis://someone:pw@" + s.Redis.Addr()})
			is(s, "exit", o.code, 0)
			says(s, o.log, `"level":"WARN","msg":"redis","warning":"Redis refused the user`)
		}},
		{"EXPIRE_CACHE tells when last seen is written anew", func(s *scene) {
			s.Redis.SetTime(time.Now())
			s.pass(env{"EXPIRE_CACHE": "864000"})
			before := s.ofRedis("shifts")
			s.Redis.SetTime(time.Now().Add(4 * days)) // more than half of a week
			s.pass(env{"EXPIRE_CACHE": "864000"})
			is(s, "last seen is written anew in the first half", s.ofRedis("shifts") != before, false)
			s.pass(env{"EXPIRE_CACHE": "604800"})
			is(s, "last seen is written anew in the second half", s.ofRedis("shifts") != before, true)
		}},
		{"EXPIRE_CACHE tells when a shift is forgotten", func(s *scene) {
			s.Redis.SetTime(time.Now())
			s.pass(nil)
			before := s.ofRedis("shifts")
			for id := range truth(s.World) {
				s.API.Delete(id)
			}
			s.Redis.SetTime(time.Now().Add(8 * days)) // more than a week
			s.pass(env{"EXPIRE_CACHE": "864000"})
			is(s, "what is remembered on the ninth day of ten", s.ofRedis("shifts"), before)
			s.Redis.SetTime(time.Now().Add(11 * days))
			s.pass(env{"EXPIRE_CACHE": "864000"})
			is(s, "what is remembered on the eleventh day of ten", s.ofRedis("shifts"), "")
		}},

		{"PENDING_LIMIT bounds what is collected", func(s *scene) {
			o := s.pass(env{"PENDING_LIMIT": "5"})
			is(s, "published", o.figure("published"), 5)
			is(s, "not collected", o.figure("not_collected"), len(truth(s.World))-5)
		}},
		{"REPUBLISH_RATE bounds what goes out for a new schema", func(s *scene) {
			for subject, text := range map[string]string{"shifts-key": schemas.Key("old"), "shifts-value": schemas.Value2018("old")} {
				if _, _, err := s.Registry.RegisterSchema(subject, sr.Schema{Schema: text}); err != nil {
					s.Fatal(err)
				}
			}
			all := s.pass(env{"REGISTER_SCHEMAS": "false"}).figure("published")
			o := s.pass(env{"REPUBLISH_RATE": "1"}) // and ten of them at once
			is(s, "exit", o.code, 3)
			is(s, "published", o.figure("published"), 10)
			is(s, "left for later", o.figure("deferred"), all-10)
		}},
		{"BAD_SHARE fails a pass", func(s *scene) {
			s.spoil(4) // of 24
			is(s, "exit by default", s.pass(nil).code, 1)
			is(s, "exit when half may be bad", s.pass(env{"BAD_SHARE": "0.5"}).code, 0)
		}},
		{"BAD_SHARE lets none pass", func(s *scene) {
			s.spoil(2) // of 22, less than by default
			is(s, "exit by default", s.pass(nil).code, 0)
			is(s, "exit when none may be bad", s.pass(env{"BAD_SHARE": "0"}).code, 1)
		}},

		{"LOG_LEVEL silences", func(s *scene) {
			is(s, "log", s.pass(env{"LOG_LEVEL": "error"}).log, "")
		}},
		{"LOG_FORMAT=text is for people", func(s *scene) {
			says(s, s.pass(env{"LOG_FORMAT": "text"}).log, " in step: ")
		}},

		{"the lease says who holds it", func(s *scene) {
			s.API.Fail(1, func(w http.ResponseWriter, _ *http.Request, a *wiwtest.Answer) {
				s.mu.Lock()
				s.leasedTo = s.ofRedis("lease")
				s.mu.Unlock()
				a.Write(w)
			})
			s.pass(nil)
			host, _ := os.Hostname()
			says(s, s.leasedTo, fmt.Sprintf("name %x", fmt.Sprintf("%s (process %d)", host, os.Getpid())))
		}},
		{"changes for another cluster are named", func(s *scene) {
			s.Redis.HSet("slotsync:{elsewhere/shifts}:intents", "1", "x")
			says(s, s.pass(nil).log, `"level":"WARN","msg":"changes meant for another kafka cluster were never sent; a worker there would send them","destination":"elsewhere/shifts","open_intents":1`)
		}},
	} {
		t.Run(c.setting, func(t *testing.T) {
			t.Parallel()
			c.see(look(t))
		})
	}
}

func TestMetricsGoWhereTheSettingsSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		claim string
		env   func(host, port string) env
		want  []string // one line begins so and ends so, with | between
	}{
		{"to STATSD_HOST", func(host, port string) env { return env{"STATSD_HOST": host, "STATSD_PORT": port} },
			[]string{"slot_sync.wiw.get:1|c", "slot_sync.wiw.limit.remaining:99|g", "slot_sync.pass.duration:|d|#result:ok", "slot_sync.wiw.request.duration:|d|#status_class:2xx"}},
		{"to DD_AGENT_HOST", func(host, port string) env { return env{"DD_AGENT_HOST": host, "STATSD_PORT": port} },
			[]string{"slot_sync.wiw.get:1|c"}},
		{"to DD_DOGSTATSD_URL", func(host, port string) env { return env{"DD_DOGSTATSD_URL": "udp://" + host + ":" + port} },
			[]string{"slot_sync.wiw.get:1|c"}},
		{"under METRICS_NAMESPACE, tagged by DD_ENV, DD_SERVICE and DD_VERSION", func(host, port string) env {
			return env{"STATSD_HOST": host, "STATSD_PORT": port, "METRICS_NAMESPACE": "leeds", "DD_ENV": "prod", "DD_SERVICE": "sync", "DD_VERSION": "1.2"}
		}, []string{"leeds.wiw.get:1|c|#env:prod,service:sync,version:1.2"}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			server := receive(t)
			host, port, _ := net.SplitHostPort(server.conn.LocalAddr().String())
			once(t, start(t, world.Options{Shifts: 20}), c.env(host, port))
			got := server.lines(t, len(c.want))
			for _, want := range c.want {
				name, rest, _ := strings.Cut(want, "|")
				if !slices.ContainsFunc(got, func(line string) bool {
					return strings.HasPrefix(line, name) && strings.HasSuffix(line, "|"+rest)
				}) {
					t.Errorf("got\n%s\nwant %s in it", strings.Join(got, "\n"), want)
				}
			}
			if slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "_e{") }) {
				t.Errorf("a single pass is told as a start:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestTheLoopFollowsItsSettings(t *testing.T) {
	t.Parallel()
	t.Run("SYNC_SLEEP_PERIOD_SECONDS lies between two passes", func(t *testing.T) {
		t.Parallel()
		r := loop(t, in(start(t, world.Options{Shifts: 20}), env{"SYNC_SLEEP_PERIOD_SECONDS": "1"}))
		done := r.until(t, `"msg":"pass done"`, 2)
		if between := done[1].Sub(done[0]); between < time.Second || between > 6*time.Second {
			t.Errorf("got %s between two passes, want one second", between)
		}
	})
	t.Run("STOP_TIMEOUT bounds a stop", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: 20})
		sent := make(chan struct{}, 100)
		w.Kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.Kafka.KeepControl()
			sent <- struct{}{}
			return nil, nil, true // and is never answered
		})
		r := loop(t, in(w, env{"STOP_TIMEOUT": "6s"}))
		<-sent
		r.stop()
		r.end(t)
		asked, gone := r.until(t, `"msg":"stopping`, 1), r.until(t, `"msg":"stopped"`, 1)
		// Two thirds are for what is in hand. Kafka would be waited for, for longer.
		if took := gone[0].Sub(asked[0]); took < 3900*time.Millisecond || took > 9*time.Second {
			t.Errorf("the stop took %s, want 4 s\n%s", took, r.String())
		}
	})
	t.Run("a stop that cannot give the lease back is a stop", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: 20})
		r := loop(t, in(w, nil))
		r.until(t, `"msg":"pass done"`, 1)
		w.Redis.SetError("LOADING Redis is loading the dataset in memory")
		r.stop()
		if code := r.end(t); code != 0 {
			t.Errorf("got exit %d, want 0: %v", code, r.err)
		}
		r.until(t, `the lease was not given back, and ends by itself`, 1)
		w.Redis.SetError("")
	})
	t.Run("the start is told to metrics", func(t *testing.T) {
		t.Parallel()
		server := receive(t)
		host, port, _ := net.SplitHostPort(server.conn.LocalAddr().String())
		r := loop(t, in(start(t, world.Options{Shifts: 20}), env{"STATSD_HOST": host, "STATSD_PORT": port}))
		r.until(t, `"msg":"pass done"`, 1)
		r.stop()
		if code := r.end(t); code != 0 {
			t.Errorf("got exit %d, want 0: %v", code, r.err)
		}
		if got := strings.Join(server.lines(t, 2), "\n"); !strings.Contains(got, ":slot_sync is starting|") {
			t.Errorf("got\n%s\nwant the event of a start in it", got)
		}
	})
	t.Run("a cluster that is not found is asked for again", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: 20})
		w.Kafka.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
			return req.ResponseKind(), nil, true // once, and without an id
		})
		r := loop(t, in(w, env{"SYNC_SLEEP_PERIOD_SECONDS": "1"}))
		r.until(t, "find the kafka cluster", 1)
		r.until(t, `"msg":"pass done"`, 1)
	})
	t.Run("a stop before the end of the only pass is a job not done, and no failure", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: 20})
		asked := make(chan struct{})
		w.API.Fail(1, func(_ http.ResponseWriter, r *http.Request, _ *wiwtest.Answer) {
			close(asked)
			<-r.Context().Done()
		})
		r := loop(t, in(w, nil), "--once")
		<-asked
		r.stop()
		if code := r.end(t); code != 1 {
			t.Errorf("got exit %d, want 1: %v", code, r.err)
		}
		var told []string
		for line := range strings.Lines(r.String()) {
			var entry struct{ Msg, Level string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Error(err)
			}
			told = append(told, entry.Level+" "+entry.Msg)
		}
		want := []string{"INFO stopping: the batch in hand is finished first, a second signal kills", "INFO pass stopped", "INFO stopped"}
		if got := told[max(0, len(told)-len(want)):]; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("once another worker has the lease, the broker is asked for nothing", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: 20})
		r := loop(t, in(w, env{"SYNC_SLEEP_PERIOD_SECONDS": "3600"}))
		r.until(t, good, 1)
		for _, key := range w.Redis.Keys() {
			if strings.HasSuffix(key, ":lease") {
				w.Redis.HSet(key, "owner", "another", "name", "host-2")
			}
		}
		r.until(t, "standing by", 1)
		asked := make(chan int16, 100)
		<-time.After(time.Second) // for what was under way
		w.Kafka.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.Kafka.KeepControl()
			select {
			case asked <- req.Key():
			default:
			}
			return nil, nil, false
		})
		<-time.After(4 * time.Second) // the library asks for news every two
		if n := len(asked); n > 0 {
			t.Errorf("the broker was asked %d times, first with %s", n, kmsg.NameForKey(<-asked))
		}
		consume(t, w)
		if len(asked) == 0 {
			t.Error("no request was counted, so the test shows nothing")
		}
	})
	t.Run("another cluster ends it, even if there is nothing to publish", func(t *testing.T) {
		t.Parallel()
		w := start(t, world.Options{Shifts: 20})
		r := loop(t, in(w, env{"SYNC_SLEEP_PERIOD_SECONDS": "3"})) // by then nothing is left of the old connections
		r.until(t, `"msg":"pass done"`, 1)
		_, port, _ := net.SplitHostPort(w.Kafka.Addrs[0])
		at, _ := strconv.Atoi(port)
		w.Kafka.Close()
		other, err := publishtest.StartKafka(publishtest.KafkaOptions{Topic: world.Topic, ClusterID: "elsewhere", Ports: []int{at}})
		if err != nil {
			t.Fatal(err)
		}
		w.Kafka = other
		if code := r.end(t); code != 1 || !errors.Is(r.err, publish.ErrOtherCluster) {
			t.Errorf("got %v, exit %d, want %v, exit 1", r.err, code, publish.ErrOtherCluster)
		}
		if log := r.String(); strings.Count(log, "brokers belong to another cluster") != 1 {
			t.Errorf("got\n%s\nwant the reason in it, once", log)
		}
	})
}
