//go:build linux

package main

import (
	"net/http"
	"time"

	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// fault is something that happens to the workers or to what surrounds them, and is over when do returns.
type fault struct {
	name   string
	weight int // how often it is in the bag that the plan draws from
	do     func(s *scene) error
}

// deadly are the faults that kill a worker. Every other strike is one of them.
func deadly() []fault {
	return []fault{
		{"holder killed in mid-batch", 4, killHolder},
		{"holders killed one after the other", 2, killHolders},
		{"all workers killed in mid-batch", 2, killAll},
		{"third worker joins, holder killed", 1, thirdWorker},
		{"two brokers hang, holder killed", 2, killWhileBrokersHang},
		{"records held on their way, holder killed", 2, killWithHeldRecords},
		{"registry answers 500, holder killed", 1, badRegistry(http.StatusInternalServerError, "application/json", `{"error_code":50001}`)},
		{"registry answers HTML, holder killed", 1, badRegistry(http.StatusOK, "text/html", "<html>Back soon.</html>")},
		{"registry hangs, holder killed", 1, hangingRegistry},
		{"shifts deleted, holder killed in the roll call", 2, killInRollCall},
		{"tombstones held on their way, holder killed", 2, killWithHeldTombstones},
		{"dead letters refused, holder killed", 1, refuseLetters(killHolder)},
	}
}

// harmful are those that do not, but for the first ones, which make it look dead.
func harmful() []fault {
	faults := []fault{
		{"holder paused past its lease", 3, pauseHolder(13*time.Second, 18*time.Second)},
		{"holder paused for less", 1, pauseHolder(3*time.Second, 11*time.Second)},
		{"records held on their way, holder paused", 2, pauseWithHeldRecords},
		{"SIGTERM", 3, stopHolder},

		{"broker restarted", 1, restartBroker},
		{"broker killed", 1, killBroker},
		{"broker hangs", 1, hangBrokers(1)},
		{"two brokers hang", 1, hangBrokers(2)},
		{"changed and moved away in an outage", 2, moveInOutage},
		{"way to brokers: answers late", 1, onBrokers(func(s *scene, r *road) (undo, error) { return r.delay(back, s.between(1*time.Second, 9*time.Second)) })},
		{"way to brokers: requests late", 1, onBrokers(func(s *scene, r *road) (undo, error) { return r.delay(there, s.between(1*time.Second, 9*time.Second)) })},
		{"way to brokers: answers lost", 1, onBrokers(func(_ *scene, r *road) (undo, error) { return r.swallow(back) })},
		{"way to brokers: slow", 1, onBrokers(func(_ *scene, r *road) (undo, error) { return r.narrow(there, 20) })},
		{"way to brokers: cut", 1, onBrokers(func(_ *scene, r *road) (undo, error) { return r.block() })},

		{"Redis killed and restarted", 2, restartRedis},
		{"Redis hangs", 1, hangRedis},
		{"Redis is full", 1, fillRedis},
		{"Redis forgets scripts", 1, tellRedis("script", "flush")},
		{"Redis drops its clients", 1, tellRedis("client", "kill", "type", "normal")},
		{"remembered shifts expire", 1, expire},
		{"way to Redis: answers late", 2, onRedis(func(s *scene, r *road) (undo, error) {
			return r.delay(back, s.between(500*time.Millisecond, 6*time.Second))
		})},
		{"way to Redis: requests late", 2, onRedis(func(s *scene, r *road) (undo, error) {
			return r.delay(there, s.between(500*time.Millisecond, 15*time.Second))
		})},
		{"way to Redis: answers lost", 1, onRedis(func(_ *scene, r *road) (undo, error) { return r.swallow(back) })},
		{"way to Redis: slow", 1, onRedis(func(_ *scene, r *road) (undo, error) { return r.narrow(there, 50) })},
		{"way to Redis: cut", 1, onRedis(func(_ *scene, r *road) (undo, error) { return r.block() })},

		{"deleted, and some restored, in an outage", 2, vanishInOutage},
		{"API: a short list, and it denies the rest", 1, shortList},
		{"dead letters refused", 1, refuseLetters(func(*scene) error { return nil })},

		{"way to the API: cut", 1, onAPI(func(_ *scene, r *road) (undo, error) { return r.block() })},
		{"way to the API: slow", 1, onAPI(func(_ *scene, r *road) (undo, error) { return r.narrow(back, 500) })},
	}
	for _, b := range []struct {
		name   string
		answer wiwtest.Fault
	}{
		{"429", wiwtest.Throttled("1")},
		{"403", wiwtest.Status(http.StatusForbidden, `{"error":"Forbidden"}`)},
		{"500", wiwtest.Status(http.StatusInternalServerError, `{"error":"Internal"}`)},
		{"HTML", wiwtest.HTML(http.StatusOK)},
		{"half an answer, then cut", wiwtest.Truncated(0.5)},
		{"half an answer as if whole", wiwtest.CutOff(0.4)},
		{"an error inside a good answer", wiwtest.ErrorInside("Something went wrong.")},
		{"another window", wiwtest.CutEcho(5 * time.Hour)},
		{"half an answer, then nothing", wiwtest.HangAfter(0.6)},
	} {
		faults = append(faults, fault{"API: " + b.name, 1, badAPI(b.answer)})
	}
	for _, b := range []struct {
		name   string
		answer wiwtest.Fault
	}{
		// None of them says that the shift is deleted.
		{"403", wiwtest.Status(http.StatusForbidden, `{"error":"You do not have access to this shift.","code":3005}`)},
		{"404 without the API's code", wiwtest.Status(http.StatusNotFound, `{"error":"Not found.","code":404}`)},
		{"404 with HTML", wiwtest.HTML(http.StatusNotFound)},
		{"no shift in the answer", wiwtest.Body(`{"shift":null}`)},
	} {
		faults = append(faults, fault{"API about missing shifts: " + b.name, 1, veilVanished(b.answer)})
	}
	return faults
}
