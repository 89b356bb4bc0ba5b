package main

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// stopping is a worker that is asked to stop while it waits for something.
type stopping struct {
	*testing.T
	*world.World
	redis    *gate
	settings env
	once     sync.Once
	reached  chan struct{} // closed when it waits for what it is to wait for
	release  chan struct{} // closed when the test is over: what hangs inside the world must not outlast it
}

// is notes that the worker is where it is to be.
func (s *stopping) is() { s.once.Do(func() { close(s.reached) }) }

// hangs is a fault of the API that tells that it has begun.
func (s *stopping) hangs(fault wiwtest.Fault) wiwtest.Fault {
	return func(w http.ResponseWriter, r *http.Request, a *wiwtest.Answer) {
		s.is()
		fault(w, r, a)
	}
}

// hangsAt makes the whole broker hang from the first request of a kind on.
func (s *stopping) hangsAt(kind kmsg.Key) {
	s.Kafka.ControlKey(int16(kind), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.is()
		<-s.release
		return nil, nil, false
	})
}

// mute returns the address of a server that takes connections and says nothing.
func (s *stopping) mute() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// A stop ends within STOP_TIMEOUT and with status 0, whatever the worker is at and whatever hangs.
func TestAStopIsBoundedWhateverHangs(t *testing.T) {
	t.Parallel()
	const patience = 6 * time.Second // the least that there is
	type stage struct {
		claim string
		at    func(s *stopping) (says string) // a line that shows that it is there; empty: s.reached does
		long  bool                            // the stop gives what is in hand its time
		then  func(s *stopping)               // just before the stop
	}
	stages := []stage{
		{"idle", func(s *stopping) string { s.settings["SYNC_SLEEP_PERIOD_SECONDS"] = "3600"; return `"pass done"` }, false, nil},
		{"idle, and Redis hangs when the lease is given back", func(s *stopping) string {
			s.settings["SYNC_SLEEP_PERIOD_SECONDS"] = "3600"
			return `"pass done"`
		}, false, func(s *stopping) { s.redis.close() }},
		{"passes without a pause", func(*stopping) string { return `"pass done"` }, false, nil},
		{"standing by", func(s *stopping) string {
			other := loop(s.T, in(s.World, env{"SYNC_SLEEP_PERIOD_SECONDS": "3600"}))
			other.until(s.T, good, 1)
			return "standing by"
		}, false, nil},
		{"Kafka hangs when it is looked for", func(s *stopping) string { s.hangsAt(kmsg.Metadata); return "" }, false, nil},
		{"nobody answers for Kafka", func(s *stopping) string { s.settings["KAFKA_BROKERS"] = s.mute(); return "pass failed" }, false, nil},
		{"nobody is there for Kafka", func(s *stopping) string { s.settings["KAFKA_BROKERS"] = "127.0.0.1:1"; return "pass failed" }, false, nil},
		{"Redis hangs when the lease is asked for", func(s *stopping) string { s.redis.close(); return "pass failed" }, false, nil},
		{"nobody is there for Redis", func(s *stopping) string { s.settings["REDIS_HOST"] = "redis://127.0.0.1:1"; return "pass failed" }, false, nil},
		{"the registry hangs", func(s *stopping) string {
			s.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				s.is()
				<-r.Context().Done()
				return true
			})
			return ""
		}, true, nil},
		{"the API hangs", func(s *stopping) string { s.API.Fail(-1, s.hangs(wiwtest.Hang())); return "" }, false, nil},
		{"the API hangs in its answer", func(s *stopping) string { s.API.Fail(-1, s.hangs(wiwtest.HangAfter(0.5))); return "" }, false, nil},
		{"the API drips", func(s *stopping) string { s.API.Fail(-1, s.hangs(wiwtest.Slow(1000, 100*time.Millisecond))); return "" }, false, nil},
		{"the API is broken and will be asked again", func(s *stopping) string { s.API.Fail(-1, s.hangs(wiwtest.Status(500, ``))); return "" }, false, nil},
		{"the turn at the API is minutes away", func(s *stopping) string {
			s.settings["WIW_RATE"], s.settings["WIW_SLICE_DAYS"] = "1", "1" // the second request waits for a minute
			s.API.Fail(-1, s.hangs(wiwtest.Altered(func(*wiwtest.Answer) {})))
			return ""
		}, false, nil},
		{"the login hangs", func(s *stopping) string {
			s.API.SetLogin(wiwtest.Login{DeveloperKey: "k", Email: "a@b.example", Password: "p"})
			s.API.FailLogin(-1, s.hangs(wiwtest.Hang()))
			for name, value := range (env{"WIW_KEY": "", "WIW_LOGIN_URL": s.APIURL + "/login", "WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": "a@b.example", "WIW_PASSWORD": "p"}) {
				s.settings[name] = value
			}
			return ""
		}, false, nil},
		{"Redis hangs in a lookup", func(s *stopping) string {
			s.API.Fail(-1, func(w http.ResponseWriter, _ *http.Request, a *wiwtest.Answer) {
				s.redis.close()
				s.is()
				a.Write(w)
			})
			return ""
		}, false, nil},
		{"Redis hangs when the intent is written", func(s *stopping) string { s.redis.shutAt(notedDown); return "" }, false, nil},
		{"Kafka hangs when the epoch is begun", func(s *stopping) string { s.hangsAt(kmsg.InitProducerID); return "" }, true, nil},
		{"Kafka hangs when it is published", func(s *stopping) string { s.hangsAt(kmsg.Produce); return "" }, true, nil},
		{"Redis hangs when it is remembered", func(s *stopping) string {
			s.Kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				s.redis.close()
				s.is()
				return nil, nil, false
			})
			return ""
		}, false, nil},
		{"Kafka hangs when it is published, and so does Redis from then on", func(s *stopping) string {
			s.Kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				s.redis.close()
				s.is()
				<-s.release
				return nil, nil, false
			})
			return ""
		}, true, nil},
		{"somebody holds HTTP_ADDR open and asks nothing", func(s *stopping) string {
			s.settings["HTTP_ADDR"], s.settings["SYNC_SLEEP_PERIOD_SECONDS"] = freeAddr(s.T), "3600"
			return `"pass done"`
		}, false, func(s *stopping) {
			c, err := net.Dial("tcp", s.settings["HTTP_ADDR"])
			if err != nil {
				s.Fatal(err)
			}
			s.Cleanup(func() { c.Close() })
			fmt.Fprint(c, "GET /healthz HTTP/1.1\r\n")
		}},
	}
	together(t, stages, func(c stage) string { return c.claim }, func(t *testing.T, c stage) {
		s := startStopping(t)
		worker := s.bring(c.at)
		if c.then != nil {
			c.then(s)
		}
		worker.signal(t, syscall.SIGTERM)
		code := worker.exit(t, 5*patience)
		// By its own clock: how long the machine takes to bring a signal and to end a process is another matter.
		took := worker.until(t, `"msg":"stopped"`, 1)[0].Sub(worker.until(t, "stopping: ", 1)[0])
		if code != 0 || took > patience+700*time.Millisecond || c.long && took < patience/2 {
			t.Errorf("got exit %d after %s, want 0 within %s\n%s", code, took, patience, worker.all())
		}
	})
	stages = slices.DeleteFunc(stages, func(c stage) bool { return !c.long }) // others may have ended before the second signal
	together(t, stages, func(c stage) string { return "a second signal: " + c.claim }, func(t *testing.T, c stage) {
		s := startStopping(t)
		worker := s.bring(c.at)
		worker.signal(t, syscall.SIGTERM)
		worker.until(t, "stopping: ", 1)
		began := time.Now()
		worker.signal(t, syscall.SIGTERM)
		code := worker.exit(t, 5*patience)
		if took := time.Since(began); code != -1 || took > patience/2 || strings.Contains(worker.String(), `"msg":"stopped"`) {
			t.Errorf("got %v after %s, want an end by the signal at once", worker.cmd.ProcessState, took)
		}
	})
}

// A stop before the end of the only pass is told by the status, since nobody can say that all is in step.
func TestAStopOfTheOnlyPassIsToldByTheStatus(t *testing.T) {
	t.Parallel()
	type stage struct {
		claim string
		at    func(s *stopping) string
	}
	together(t, []stage{
		{"the API hangs", func(s *stopping) string { s.API.Fail(-1, s.hangs(wiwtest.Hang())); return "" }},
		{"Kafka hangs when it is published", func(s *stopping) string { s.hangsAt(kmsg.Produce); return "" }},
		{"standing by", func(s *stopping) string {
			loop(s.T, in(s.World, env{"SYNC_SLEEP_PERIOD_SECONDS": "3600"})).until(s.T, good, 1)
			return "standing by"
		}},
	}, func(c stage) string { return c.claim }, func(t *testing.T, c stage) {
		worker := startStopping(t).bring(c.at, "--once")
		worker.signal(t, syscall.SIGTERM)
		if code := worker.exit(t, 30*time.Second); code != 1 {
			t.Errorf("got exit %d, want 1\n%s", code, worker.all())
		}
	})
}

// bring starts a worker and waits until it is where it is to be.
func (s *stopping) bring(at func(*stopping) string, args ...string) *process {
	s.Helper()
	says := at(s)
	worker := launchIn(s.T, s.World, s.settings, args...)
	if says != "" {
		worker.until(s.T, says, 1)
		return worker
	}
	select {
	case <-s.reached:
	case <-s.redis.shut:
	case <-worker.ended:
		s.Fatalf("it has ended:\n%s", worker.all())
	case <-time.After(30 * time.Second):
		s.Fatalf("it does not get there:\n%s", worker)
	}
	return worker
}

// notedDown is in the records of the world of a stop, and so in the intents that Redis is given.
const notedDown = "till three"

func startStopping(t *testing.T) *stopping {
	t.Helper()
	s := &stopping{T: t, World: start(t, world.Options{Partitions: 2}), reached: make(chan struct{}), release: make(chan struct{})}
	t.Cleanup(func() { close(s.release) })
	now := time.Now().UTC().Truncate(time.Second)
	s.API.PutJSON(5, now, now.Add(time.Hour), fmt.Sprintf(`{"id":5,"start_time":%q,"end_time":%q,"notes":%q}`,
		now.Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339), notedDown))
	s.redis = gateTo(t, s.Redis.Addr())
	s.settings = env{"REDIS_HOST": "redis://" + s.redis.addr, "STOP_TIMEOUT": "6s", "SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000"}
	return s
}
