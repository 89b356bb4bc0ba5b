package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// mark is in all that is nobody's business, and in nothing else: neither a hash nor an id holds its letters.
const mark = "zq7"

// What must not be seen: all secrets there are, and what shifts hold of people.
const (
	markedToken     = mark + "-session-token"
	markedKey       = mark + "-developer-key"
	markedPassword  = mark + "-login-password"
	markedEmail     = mark + "@example.invalid"
	markedRedis     = mark + "-redis-password"
	markedRegistry  = mark + "-registry-password"
	markedSentinels = mark + "-sentinel-password"
	markedNotes     = mark + " notes about Ada, 555-" + mark
)

// givesAway returns what of a text is a secret or about a person, with the words around it.
func givesAway(text string) string {
	basic := base64.StdEncoding.EncodeToString([]byte("svc:" + markedRegistry))
	for _, secret := range []string{mark, "ada@example", "Example", "+10000000000", basic} {
		if at := strings.Index(text, secret); at >= 0 {
			return text[max(0, at-200):min(len(text), at+100)]
		}
	}
	return ""
}

// secretive is a world in which every secret is marked, and so is what the shifts hold of people.
type secretive struct {
	*world.World
	t        *testing.T
	settings env
	http     string // where the worker serves its health
	stats    *packets
}

func startSecretive(t *testing.T) *secretive {
	t.Helper()
	w := start(t, world.Options{Partitions: 2})
	s := &secretive{World: w, t: t, http: freeAddr(t), stats: catchPackets(t)}
	w.API.SetToken(markedToken)
	w.Redis.RequireUserAuth("svc", markedRedis)
	w.Redis.RequireAuth(markedRedis)
	for i := range 5 {
		s.put(int64(1+i), fmt.Sprintf(`"notes":%q,"created_at":"%s of May","mood":{"%s":"%s"}`, markedNotes, mark, mark, mark))
	}
	host, port, _ := strings.Cut(s.stats.addr(), ":")
	s.settings = env{
		"LOG_LEVEL": "debug", "LOG_FORMAT": "json", "HTTP_ADDR": s.http, "STATSD_HOST": host, "STATSD_PORT": port,
		"WIW_KEY": markedToken, "WIW_RATE": "6000", "SYNC_SLEEP_PERIOD_SECONDS": "0",
		"REDIS_HOST":               "redis://svc:" + markedRedis + "@" + w.Redis.Addr(),
		"SCHEMA_REGISTRY_USERNAME": "svc", "SCHEMA_REGISTRY_PASSWORD": markedRegistry,
	}
	return s
}

// put adds a shift of today with these members beside the usual ones.
func (s *secretive) put(id int64, members string) {
	now := time.Now().UTC().Truncate(time.Second)
	s.API.PutJSON(id, now, now.Add(time.Hour), fmt.Sprintf(`{"id":%d,"account_id":7,"user_id":8,"start_time":%q,"end_time":%q,%s}`,
		id, now.Format(time.RFC1123Z), now.Add(time.Hour).Format(time.RFC1123Z), members))
}

// refuse makes the broker refuse what it is sent, in words that quote it.
func (s *secretive) refuse(code *kerr.Error) {
	s.Kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.Kafka.KeepControl()
		words := "record with " + markedNotes
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			of := kmsg.NewProduceResponseTopic()
			of.Topic = topic.Topic
			for _, p := range topic.Partitions {
				answer := kmsg.NewProduceResponseTopicPartition()
				answer.Partition, answer.ErrorCode, answer.ErrorMessage = p.Partition, code.Code, &words
				blamed := kmsg.NewProduceResponseTopicPartitionErrorRecord()
				blamed.ErrorMessage = &words
				answer.ErrorRecords = append(answer.ErrorRecords, blamed)
				of.Partitions = append(of.Partitions, answer)
			}
			res.Topics = append(res.Topics, of)
		}
		return res, nil, true
	})
}

// answerAll makes the registry answer everything so, with what it was asked with in it.
func (s *secretive) answerAll(status int, kind, format string) {
	s.Registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		fmt.Fprintf(w, format, r.Header.Get("Authorization")+" "+markedRegistry)
		return true
	})
}

// echo starts a server that sends back all that it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // until whoever has called hangs up
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String()
}

// packets is a StatsD server that keeps what it is sent.
type packets struct {
	*receiver
	mu   sync.Mutex // guards text
	text strings.Builder
}

func catchPackets(t *testing.T) *packets {
	p := &packets{receiver: receive(t)}
	var reading sync.WaitGroup
	reading.Go(func() {
		packet := make([]byte, 1<<16)
		for {
			n, _, err := p.conn.ReadFrom(packet)
			if err != nil {
				return // the test has ended
			}
			p.mu.Lock()
			p.text.Write(packet[:n])
			p.text.WriteByte('\n')
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() { p.conn.Close(); reading.Wait() })
	return p
}

func (p *packets) addr() string { return p.conn.LocalAddr().String() }

func (p *packets) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// No secret and nothing about a person is in what a worker says, whatever goes wrong around it: not in its log at its
// loudest, its metrics, its health, nor in what its commands print.
func TestNothingIsGivenAway(t *testing.T) {
	t.Parallel()
	page := "<html><body>" + markedNotes + " " + markedToken + "</body></html>"
	words := `{"error":"The user ` + markedEmail + ` with ` + markedToken + ` may not","code":"` + markedToken + `"}`
	type scene struct {
		claim string
		spoil func(s *secretive)
		says  string // in the log, once what is looked for has happened
		times int
	}
	scenes := []scene{
		{"all is well", func(*secretive) {}, `"pass done"`, 3},
		{"the token is refused", func(s *secretive) { s.API.Fail(-1, wiwtest.Status(401, words)) }, "401 Unauthorized", 1},
		{"a right is missing", func(s *secretive) {
			s.API.Fail(-1, wiwtest.Status(403, `{"error":"No permission for `+markedEmail+` `+markedToken+`","code":3005}`))
		}, "403 Forbidden", 1},
		{"throttled", func(s *secretive) { s.API.Fail(-1, wiwtest.Status(403, words)) }, "slow down", 1},
		{"the API is broken", func(s *secretive) { s.API.Fail(-1, wiwtest.Status(500, words)) }, "500 Internal", 1},
		{"the API is a page", func(s *secretive) { s.API.Fail(-1, wiwtest.Status(200, page, "Content-Type", "text/html")) }, "text/html", 1},
		{"the API is a page that calls itself JSON", func(s *secretive) { s.API.Fail(-1, wiwtest.Status(200, page)) }, "not JSON", 1},
		{"the API points elsewhere", func(s *secretive) {
			s.API.Fail(-1, wiwtest.Status(302, ``, "Location", "https://"+markedToken+".example.invalid/?t="+markedToken))
		}, "redirects are not followed", 1},
		{"the answer is cut", func(s *secretive) { s.API.Fail(-1, wiwtest.CutOff(0.7)) }, "cut off", 1},
		{"the answer breaks off in a value", func(s *secretive) {
			s.API.Fail(-1, wiwtest.Body(`{"shifts":[{"id":1,"notes":"`+markedNotes+`"},{"id":2,"notes":"`+mark+`"`+mark))
		}, "not JSON", 1},
		{"the answer is for another window", func(s *secretive) {
			s.API.Fail(-1, wiwtest.Replaced(`"start":"`, `"start":"`+mark))
		}, "unknown form", 1},
		{"the login is refused", func(s *secretive) {
			s.logsIn()
			s.API.FailLogin(-1, wiwtest.Status(401, `{"error":"`+markedEmail+` / `+markedPassword+` / `+markedKey+` are wrong"}`))
		}, "are WIW_EMAIL and WIW_PASSWORD right?", 1},
		{"the login is a page", func(s *secretive) {
			s.logsIn()
			s.API.FailLogin(-1, wiwtest.Status(404, `<html>`+markedPassword+`</html>`, "Content-Type", "text/html"))
		}, "404 Not Found", 1},
		{"the login gives a token that cannot be sent", func(s *secretive) {
			s.logsIn()
			s.API.FailLogin(-1, wiwtest.Body(`{"token":"`+mark+`\n"}`))
		}, "cannot be sent", 1},
		{"the registry refuses the login", func(s *secretive) {
			s.answerAll(401, "application/json", `{"error_code":401,"message":"no such user: %s"}`)
		}, "401 Unauthorized", 1},
		{"the registry refuses the schema", func(s *secretive) {
			s.Registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/versions") {
					return false
				}
				w.WriteHeader(409)
				fmt.Fprintf(w, `{"error_code":409,"message":"not for %s"}`, r.Header.Get("Authorization"))
				return true
			})
		}, "409 Conflict", 1},
		{"the registry is a page", func(s *secretive) { s.answerAll(200, "text/html", "<html>%s</html>") }, "something other than a JSON", 1},
		{"Redis refuses the password", func(s *secretive) {
			s.Redis.RequireUserAuth("svc", "another")
			s.Redis.RequireAuth("another")
		}, "WRONGPASS", 1},
		{"Redis is something that says again what it hears", func(s *secretive) {
			s.settings["REDIS_HOST"] = "redis://svc:" + markedRedis + "@" + echo(s.t)
		}, "acquire lease", 1},
		{"Redis is not the Sentinel that it is taken for", func(s *secretive) {
			s.settings["REDIS_SENTINEL_MASTER"], s.settings["REDIS_SENTINEL_ADDRS"] = "mymaster", s.Redis.Addr()
			s.settings["REDIS_SENTINEL_PASSWORD"] = markedSentinels
		}, "acquire lease", 1},
		{"Redis is away", func(s *secretive) { s.settings["REDIS_HOST"] = "redis://svc:" + markedRedis + "@127.0.0.1:1" }, "acquire lease", 1},
		{"the broker refuses each record", func(s *secretive) { s.refuse(kerr.InvalidRecord) }, "set aside", 3},
		{"each record is too large", func(s *secretive) { s.refuse(kerr.MessageTooLarge) }, "too large", 3},
		{"the broker has a rule of its own", func(s *secretive) { s.refuse(kerr.PolicyViolation) }, "gave up after", 1},
		{"the broker takes nothing", func(s *secretive) { s.refuse(kerr.TopicAuthorizationFailed) }, "the right Write on the topic is needed", 1},
		{"shifts are bad", func(s *secretive) {
			s.API.PutJSON(90, time.Now(), time.Now().Add(time.Hour), `{"id":90,"start_time":"`+markedNotes+`"}`)
			s.API.PutJSON(91, time.Now(), time.Now().Add(time.Hour), `{"id":"`+mark+`","start_time":"`+markedNotes+`"}`)
			s.API.PutJSON(92, time.Now(), time.Now().Add(time.Hour), `"`+markedNotes+`"`)
		}, "shift set aside", 3},
	}
	together(t, scenes, func(c scene) string { return c.claim }, func(t *testing.T, c scene) {
		s := startSecretive(t)
		c.spoil(s)
		worksInSecret(t, s, c.says, c.times)
		if c.claim == scenes[0].claim {
			printsNothingSecret(t, s)
			keepsNothingSecret(t, s)
		}
	})
}

// worksInSecret runs a worker, and what one would ask beside it, until it has said something so many times.
func worksInSecret(t *testing.T, s *secretive, says string, times int) {
	worker := launchIn(t, s.World, s.settings)
	beside := map[string]*process{}
	for _, args := range []string{"check --json --migrate", "--once --dry-run"} {
		beside[args] = launchIn(t, s.World, s.settings, strings.Fields(args)...)
	}
	worker.until(t, says, times)
	s.put(1, `"notes":"`+markedNotes+` (changed)"`)
	seen := map[string]string{"HTTP_ADDR": served(t, s.http, "/healthz", "/readyz", "/metrics", "/")}
	beside["health"] = launchIn(t, s.World, s.settings, "health", "--ready")
	for args, p := range beside {
		p.exit(t, 40*time.Second)
		seen[args] = p.all()
	}
	worker.signal(t, syscall.SIGTERM)
	if code := worker.exit(t, 40*time.Second); code != 0 {
		t.Errorf("got exit %d", code)
	}
	seen["the log"], seen["StatsD"] = worker.all(), s.stats.String()
	for what, text := range seen {
		if text == "" {
			t.Errorf("%s: there is nothing to look at", what)
		}
		if leak := givesAway(text); leak != "" {
			t.Errorf("%s gives away\n%s", what, leak)
		}
	}
}

// printsNothingSecret calls what has not been called yet.
func printsNothingSecret(t *testing.T, s *secretive) {
	for _, args := range []string{"check", "schemas show", "schemas check", "schemas register", "--republish all --yes", "--once", "version", "--help"} {
		p := launchIn(t, s.World, s.settings, strings.Fields(args)...)
		if code := p.exit(t, 40*time.Second); code != 0 && args != "check" {
			t.Errorf("%s: got exit %d\n%s", args, code, p.all())
		}
		if leak := givesAway(p.all()); leak != "" || p.all() == "" {
			t.Errorf("%s gives away\n%s", args, leak)
		}
	}
	tail := launchIn(t, s.World, s.settings, "tail", "--no-follow")
	if tail.exit(t, 40*time.Second) != 0 || !strings.Contains(tail.stdout.String(), markedNotes) || tail.String() != "" {
		t.Errorf("tail shows the content, and nothing beside it: got\n%s%s", tail.stdout.String(), tail)
	}
}

// keepsNothingSecret looks at what outlasts a worker that has published all.
func keepsNothingSecret(t *testing.T, s *secretive) {
	if leak := givesAway(s.Redis.Dump()); leak != "" || !strings.Contains(s.Redis.Dump(), ":shifts") {
		t.Errorf("Redis, with no intent open, holds\n%s", leak)
	}
	records := consume(t, s.World)
	if len(records) < 5 {
		t.Fatalf("got %d records", len(records))
	}
	for _, r := range records {
		if len(r.Headers) != 2 || givesAway(fmt.Sprint(r.Headers)) != "" || givesAway(string(r.Key)) != "" {
			t.Errorf("got the headers %v, the key %q", r.Headers, r.Key)
		}
	}
}

// logsIn replaces the token by a login.
func (s *secretive) logsIn() {
	s.API.SetLogin(wiwtest.Login{DeveloperKey: markedKey, Email: markedEmail, Password: markedPassword})
	s.settings["WIW_KEY"], s.settings["WIW_LOGIN_URL"] = "", s.APIURL+"/login"
	s.settings["WIW_DEVELOPER_KEY"], s.settings["WIW_EMAIL"], s.settings["WIW_PASSWORD"] = markedKey, markedEmail, markedPassword
}
