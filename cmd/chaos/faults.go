//go:build linux

package main

import (
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/slotsync/slotsync/publish/publishtest"
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
	return faults
}

func killHolder(s *scene) error {
	w, err := s.holder()
	if err != nil {
		return err
	}
	changed, err := s.burst()
	if err != nil {
		return err
	}
	s.kill(w)
	s.perhapsRevert(changed)
	return s.replaced(w)
}

func killHolders(s *scene) error {
	for range 3 {
		if err := killHolder(s); err != nil {
			return err
		}
	}
	return nil
}

func killAll(s *scene) error {
	w, err := s.holder()
	if err != nil {
		return err
	}
	changed, err := s.burst()
	if err != nil {
		return err
	}
	all := s.crew.alive()
	s.kill(w)
	s.perhapsRevert(changed)
	for _, other := range all {
		if other != w {
			other.kill()
		}
		if _, err := s.crew.start(other.slot); err != nil {
			return err
		}
	}
	return s.takenOver(w)
}

// thirdWorker leaves two workers of three.
func thirdWorker(s *scene) error {
	if _, err := s.crew.start(s.crew.free()); err != nil {
		return err
	}
	w, err := s.holder()
	if err != nil {
		return err
	}
	changed, err := s.burst()
	if err != nil {
		return err
	}
	s.kill(w)
	s.perhapsRevert(changed)
	return s.takenOver(w)
}

func killWhileBrokersHang(s *scene) error {
	w, err := s.holder()
	if err != nil {
		return err
	}
	wake, err := s.hang(s.someBrokers(2))
	if err != nil {
		return err
	}
	changed, err := s.burst()
	if err != nil {
		return err
	}
	s.pause(0, 3*time.Second)
	s.kill(w)
	s.truth.revert(changed)
	if err := s.replaced(w); err != nil {
		return err
	}
	s.pause(0, 5*time.Second)
	return wake()
}

// killWithHeldRecords lets what a dead worker has sent arrive when another one has been at work: the broker has to
// refuse it, for it would lie behind what is newer.
func killWithHeldRecords(s *scene) error {
	w, release, err := s.holdRecords()
	if err != nil {
		return err
	}
	s.kill(w)
	s.truth.revert(s.changed)
	if err := s.replaced(w); err != nil {
		return err
	}
	s.pause(0, 4*time.Second)
	return release()
}

// pauseWithHeldRecords does the same to a worker that wakes up later and knows nothing.
func pauseWithHeldRecords(s *scene) error {
	w, release, err := s.holdRecords()
	if err != nil {
		return err
	}
	if err := w.pause(); err != nil {
		return err
	}
	s.truth.revert(s.changed)
	if err := s.takenOver(w); err != nil {
		return err
	}
	s.pause(0, 4*time.Second)
	if err := release(); err != nil {
		return err
	}
	s.pause(0, 2*time.Second)
	return w.resume()
}

func badRegistry(status int, kind, body string) func(s *scene) error {
	return func(s *scene) error {
		s.stack.registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		})
		defer s.stack.registry.ClearInterceptors()
		if err := killHolder(s); err != nil {
			return err
		}
		s.pause(0, 5*time.Second)
		return nil
	}
}

func hangingRegistry(s *scene) error {
	wake, err := s.stack.toRegistry.swallow(back)
	if err != nil {
		return err
	}
	if err := killHolder(s); err != nil {
		return err
	}
	s.pause(0, 8*time.Second)
	return wake()
}

func pauseHolder(least, most time.Duration) func(s *scene) error {
	return func(s *scene) error {
		w, err := s.holder()
		if err != nil {
			return err
		}
		changed, err := s.burst()
		if err != nil {
			return err
		}
		if err := w.pause(); err != nil {
			return err
		}
		s.perhapsRevert(changed)
		s.pause(least, most)
		return w.resume()
	}
}

func stopHolder(s *scene) error {
	w, err := s.holder()
	if err != nil {
		return err
	}
	if s.r.IntN(2) == 0 {
		if _, err := s.burst(); err != nil {
			return err
		}
	}
	took, err := w.stop(31 * time.Second)
	if err != nil {
		return err
	}
	s.score.stops = append(s.score.stops, took)
	return s.replaced(w)
}

func restartBroker(s *scene) error {
	n, err := s.leader()
	if err != nil {
		return err
	}
	if _, err := s.burst(); err != nil {
		return err
	}
	if err := n.Stop(); err != nil {
		return err
	}
	if err := n.Start(); err != nil {
		return err
	}
	return s.inSync()
}

func killBroker(s *scene) error {
	n, err := s.leader()
	if err != nil {
		return err
	}
	changed, err := s.burst()
	if err != nil {
		return err
	}
	n.Kill()
	s.perhapsRevert(changed)
	s.pause(0, 8*time.Second)
	if err := n.Start(); err != nil {
		return err
	}
	return s.inSync()
}

// hangBrokers makes so many hang, the one that leads most among them. Two of three are an outage.
func hangBrokers(n int) func(s *scene) error {
	return func(s *scene) error {
		changed, err := s.burst()
		if err != nil {
			return err
		}
		wake, err := s.hang(s.someBrokers(n))
		if err != nil {
			return err
		}
		s.perhapsRevert(changed)
		s.pause(5*time.Second, 25*time.Second)
		if err := wake(); err != nil {
			return err
		}
		return s.inSync()
	}
}

// moveInOutage changes shifts while nothing can be published, and moves them out of the window when the changes have
// been seen. They still have to arrive.
func moveInOutage(s *scene) error {
	if _, err := s.holder(); err != nil {
		return err
	}
	wake, err := s.hang(s.someBrokers(2))
	if err != nil {
		return err
	}
	leaving := s.truth.pick(s.r, 60)
	s.truth.edit(leaving)
	if err := s.collected(leaving); err != nil {
		return err
	}
	if err := s.moveAway(leaving); err != nil {
		return err
	}
	s.pause(0, 5*time.Second)
	if err := wake(); err != nil {
		return err
	}
	return s.inSync()
}

// onBrokers does something to the ways from the holder to the brokers, for a while.
func onBrokers(do func(*scene, *road) (undo, error)) func(s *scene) error {
	return onWay(do, func(s *scene, slot int) []*road { return s.stack.toBrokers[slot] })
}

func onRedis(do func(*scene, *road) (undo, error)) func(s *scene) error {
	return onWay(do, func(s *scene, slot int) []*road { return []*road{s.stack.toRedis[slot]} })
}

func onAPI(do func(*scene, *road) (undo, error)) func(s *scene) error {
	return onWay(do, func(s *scene, _ int) []*road { return []*road{s.stack.toAPI} })
}

func onWay(do func(*scene, *road) (undo, error), roads func(s *scene, slot int) []*road) func(s *scene) error {
	return func(s *scene) error {
		w, err := s.holder()
		if err != nil {
			return err
		}
		changed, err := s.burst()
		if err != nil {
			return err
		}
		clear, err := onAll(roads(s, w.slot), func(r *road) (undo, error) { return do(s, r) })
		if err != nil {
			return err
		}
		s.pause(0, 4*time.Second)
		s.perhapsRevert(changed)
		s.pause(time.Second, 16*time.Second)
		return clear()
	}
}

func restartRedis(s *scene) error {
	changed, err := s.burst()
	if err != nil {
		return err
	}
	s.stack.redis.Close()
	s.perhapsRevert(changed)
	s.pause(0, 6*time.Second)
	return s.stack.redis.Run()
}

func hangRedis(s *scene) error {
	changed, err := s.burst()
	if err != nil {
		return err
	}
	if err := s.stack.redis.Pause(); err != nil {
		return err
	}
	s.perhapsRevert(changed)
	s.pause(2*time.Second, 16*time.Second)
	return s.stack.redis.Resume()
}

func fillRedis(s *scene) error {
	changed, err := s.burst()
	if err != nil {
		return err
	}
	empty, err := s.stack.fill(s.ctx)
	if err != nil {
		return err
	}
	s.perhapsRevert(changed)
	s.pause(2*time.Second, 15*time.Second)
	return empty()
}

// tellRedis sends it a command in mid-batch, some times.
func tellRedis(command ...any) func(s *scene) error {
	return func(s *scene) error {
		for range 3 {
			if _, err := s.burst(); err != nil {
				return err
			}
			if err := s.stack.look.Do(s.ctx, command...).Err(); err != nil {
				return fmt.Errorf("%v: %w", command, err)
			}
			s.pause(0, 2*time.Second)
		}
		return nil
	}
}

func expire(s *scene) error {
	n, err := s.stack.forget(s.ctx, 300+s.r.IntN(700))
	s.score.expired += n
	return err
}

// badAPI makes the API answer badly a few times.
func badAPI(answer wiwtest.Fault) func(s *scene) error {
	return func(s *scene) error {
		s.truth.edit(s.truth.pick(s.r, 300))
		s.stack.api.Fail(-1, answer)
		s.pause(2*time.Second, 8*time.Second)
		s.stack.api.Heal()
		return nil
	}
}

// hang stops brokers, with all their connections open.
func (s *scene) hang(nodes []*publishtest.Broker) (undo, error) {
	for _, n := range nodes {
		if err := n.Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	return func() error {
		for _, n := range nodes {
			if err := n.Signal(syscall.SIGCONT); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
