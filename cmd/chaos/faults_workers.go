//go:build linux

package main

import (
	"net/http"
	"time"
)

// What happens to workers, and to what they need to take over.

func killHolder(s *scene) error {
	w, err := s.midBatch()
	if err != nil {
		return err
	}
	if err := s.kill(w); err != nil {
		return err
	}
	s.perhapsRevert()
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
	w, err := s.midBatch()
	if err != nil {
		return err
	}
	all := s.crew.alive()
	if err := s.kill(w); err != nil {
		return err
	}
	s.perhapsRevert()
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
	w, err := s.midBatch()
	if err != nil {
		return err
	}
	if err := s.kill(w); err != nil {
		return err
	}
	s.perhapsRevert()
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
	if err := s.burst(); err != nil {
		return err
	}
	s.pause(0, 3*time.Second)
	if err := s.kill(w); err != nil {
		return err
	}
	s.revert()
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
	if err := s.kill(w); err != nil {
		return err
	}
	s.revert()
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
	s.revert()
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
		w, err := s.midBatch()
		if err != nil {
			return err
		}
		if err := w.pause(); err != nil {
			return err
		}
		s.perhapsRevert()
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
		if err := s.burst(); err != nil {
			return err
		}
	}
	if err := s.stop(w); err != nil {
		return err
	}
	return s.replaced(w)
}
