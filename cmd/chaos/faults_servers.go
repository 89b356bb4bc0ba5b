//go:build linux

package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// What happens to the servers, and on the ways to them.

func restartBroker(s *scene) error {
	n, err := s.leader()
	if err != nil {
		return err
	}
	s.stirred = true
	if err := s.burst(); err != nil {
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
	if err := s.burst(); err != nil {
		return err
	}
	s.stirred = true
	n.Kill()
	s.perhapsRevert()
	s.pause(0, 8*time.Second)
	if err := n.Start(); err != nil {
		return err
	}
	return s.inSync()
}

// hangBrokers makes so many hang. Two of three are an outage.
func hangBrokers(n int) func(s *scene) error {
	return func(s *scene) error {
		if err := s.burst(); err != nil {
			return err
		}
		wake, err := s.hang(s.someBrokers(n))
		if err != nil {
			return err
		}
		s.perhapsRevert()
		s.pause(5*time.Second, givesUp*3/2)
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

// givesUp is how long a worker tries to publish a batch.
const givesUp = 20 * time.Second

// onBrokers does something to the ways from the holder to the brokers, in the middle of a pass.
func onBrokers(do func(*scene, *road) (undo, error)) func(s *scene) error {
	return func(s *scene) error {
		s.stirred = true
		_, clear, err := s.inPass(func(w *worker) (undo, error) {
			return onAll(s.stack.toBrokers[w.slot], func(r *road) (undo, error) { return do(s, r) })
		})
		if err != nil {
			return err
		}
		return s.endure(clear, givesUp*3/2)
	}
}

// onRedis does something to the way from the holder to Redis, in the middle of a batch.
func onRedis(do func(*scene, *road) (undo, error)) func(s *scene) error {
	return func(s *scene) error {
		w, err := s.midBatch()
		if err != nil {
			return err
		}
		clear, err := do(s, s.stack.toRedis[w.slot])
		if err != nil {
			return err
		}
		return s.endure(clear, 16*time.Second)
	}
}

// onAPI does something to the way to the API.
func onAPI(do func(*scene, *road) (undo, error)) func(s *scene) error {
	return func(s *scene) error {
		s.change()
		clear, err := do(s, s.stack.toAPI)
		if err != nil {
			return err
		}
		return s.endure(clear, 10*time.Second)
	}
}

// endure lets things be as they are for a while, in which the last changes may be taken back.
func (s *scene) endure(clear undo, most time.Duration) error {
	s.pause(0, 4*time.Second)
	s.perhapsRevert()
	s.pause(time.Second, most)
	return clear()
}

func restartRedis(s *scene) error {
	if err := s.burst(); err != nil {
		return err
	}
	s.stack.redis.Close()
	s.perhapsRevert()
	s.pause(0, 6*time.Second)
	return s.stack.redis.Run()
}

func hangRedis(s *scene) error {
	if err := s.burst(); err != nil {
		return err
	}
	if err := s.stack.redis.Pause(); err != nil {
		return err
	}
	s.perhapsRevert()
	s.pause(2*time.Second, 16*time.Second)
	return s.stack.redis.Resume()
}

func fillRedis(s *scene) error {
	if err := s.burst(); err != nil {
		return err
	}
	empty, err := s.stack.fill(s.ctx)
	if err != nil {
		return err
	}
	s.perhapsRevert()
	s.pause(2*time.Second, 15*time.Second)
	return empty()
}

// tellRedis sends it a command in mid-batch, some times.
func tellRedis(command ...any) func(s *scene) error {
	return func(s *scene) error {
		for range 3 {
			if err := s.burst(); err != nil {
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
	return s.stack.forget(s.ctx, 300+s.r.IntN(700), func(ids []int64) {
		s.truth.forgot(ids)
		s.books.dropped(len(ids))
	})
}

// badAPI makes the API answer badly a few times.
func badAPI(answer wiwtest.Fault) func(s *scene) error {
	return func(s *scene) error {
		s.change()
		s.stack.api.Fail(-1, answer)
		s.pause(2*time.Second, 8*time.Second)
		s.stack.api.Heal()
		return nil
	}
}

// hang stops brokers, with all their connections open.
func (s *scene) hang(nodes []*publishtest.Broker) (undo, error) {
	s.stirred = true
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
