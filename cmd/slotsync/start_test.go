package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// necessity is a server that a start needs.
type necessity struct {
	name    string
	setting string // that says where it is, which an error has to name
	at      func(w *world.World) string
	put     func(addr string) string // the setting's value
	bound   time.Duration            // longest time that --once takes to find that it is away
	hanging time.Duration            // longest time that --once takes if it hangs
}

func necessities() []necessity {
	bare := func(url string) string { return strings.TrimPrefix(url, "http://") }
	return []necessity{
		{"Kafka", "KAFKA_BROKERS", func(w *world.World) string { return w.Kafka.Addrs[0] }, func(a string) string { return a }, 15 * time.Second, 15 * time.Second},
		{"Redis", "REDIS_HOST", func(w *world.World) string { return w.Redis.Addr() }, func(a string) string { return "redis://" + a }, 15 * time.Second, 15 * time.Second},
		{"the registry", "SCHEMA_REGISTRY_URL", func(w *world.World) string { return bare(w.Registry.URL()) }, func(a string) string { return "http://" + a }, 15 * time.Second, 25 * time.Second},
		{"the API", "WIW_URL", func(w *world.World) string { return bare(w.APIURL) }, func(a string) string { return "http://" + a }, 30 * time.Second, 40 * time.Second},
	}
}

// absence is a way in which a server may be away.
type absence struct {
	necessity
	hangs bool
}

func (a absence) String() string {
	if a.hangs {
		return a.name + " hangs"
	}
	return "nobody is there for " + a.name
}

func absences() (all []absence) {
	for _, d := range necessities() {
		all = append(all, absence{d, false}, absence{d, true})
	}
	return all
}

// A loop that starts before what it needs waits for it, says so at a pace that a person can read, and goes on by itself.
func TestAStartWaitsForWhatIsAway(t *testing.T) {
	t.Parallel()
	together(t, absences(), absence.String, func(t *testing.T, c absence) {
		w := startWorld(t)
		var addr string
		var g *gate
		if c.hangs {
			g = gateTo(t, c.at(w))
			g.close()
			addr = g.addr
		} else {
			addr = freeAddr(t)
		}
		began := time.Now()
		r := loop(t, in(w, env{settingOf(c.necessity): c.put(addr), "SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_TIMEOUT": "1s", "WIW_RATE": "6000"}))
		r.until(t, bad, 1)
		if !strings.Contains(r.String(), c.setting) {
			t.Errorf("it does not name %s:\n%s", c.setting, r)
		}
		took := time.Since(began)
		if lines := strings.Count(r.String(), "\n"); float64(lines) > 6+2*took.Seconds() {
			t.Errorf("got %d lines in %s:\n%s", lines, took, r)
		}
		if c.hangs {
			g.reopen()
		} else {
			gateAt(t, addr, c.at(w))
		}
		r.until(t, good, 1)
		r.halt(t)
	})
}

func TestTheOnlyPassDoesNotWaitLongForWhatIsAway(t *testing.T) {
	t.Parallel()
	together(t, absences(), absence.String, func(t *testing.T, c absence) {
		w := startWorld(t)
		addr, within := freeAddr(t), c.bound
		if c.hangs {
			g := gateTo(t, c.at(w))
			g.close()
			addr, within = g.addr, c.hanging
		}
		began := time.Now()
		_, code, log := once(t, w, env{settingOf(c.necessity): c.put(addr), "WIW_TIMEOUT": "1s"})
		if took := time.Since(began); code != 1 || took > within || !strings.Contains(log, c.setting) || !strings.Contains(log, addr) {
			t.Errorf("got exit %d after %s, want 1 within %s, and %s at %s named in\n%s", code, took, within, c.setting, addr, log)
		}
	})
}

// What is wrong at once is wrong again at once, and must not be met as fast as it can be asked.
func TestATroubleWithoutAWaitIsNotMetInAHurry(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	asked := make(chan time.Time, 100)
	w.Kafka.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.Kafka.KeepControl()
		select {
		case asked <- time.Now():
		default:
		}
		return req.ResponseKind(), nil, true // a cluster without an id
	})
	r := loop(t, in(w, env{"SYNC_SLEEP_PERIOD_SECONDS": "0"}))
	r.until(t, "tell no cluster id", 1)
	first := <-asked
	<-asked
	<-asked
	if took := (<-asked).Sub(first); took < time.Second {
		t.Errorf("it was asked four times within %s", took)
	}
	r.halt(t)
}

func startWorld(t *testing.T) *world.World {
	t.Helper()
	return start(t, world.Options{Shifts: 5, Partitions: 2})
}

// settingOf is the variable that the world sets.
func settingOf(d necessity) string {
	if d.setting == "SCHEMA_REGISTRY_URL" {
		return "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"
	}
	return d.setting
}
