package main

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/slotsync/slotsync/wiw"
)

// session is where the session token comes from, a setting or a login. It measures how long the token still lasts, and
// warns in time.
type session struct {
	log   *slog.Logger
	stats *metrics
	from  wiw.TokenSource
	login *wiw.Login // nil: the token is a setting

	stop  chan struct{}
	timer sync.WaitGroup

	mu    sync.Mutex // guards all below
	token string     // the last one
	told  warned
}

// newSession returns a session that is not used yet. Each attempt to log in is told to attempted.
func newSession(cfg *config, log *slog.Logger, stats *metrics, attempted func()) (*session, error) {
	s := &session{log: log, stats: stats, stop: make(chan struct{})}
	if !cfg.logsIn() {
		s.from = wiw.FreshToken(cfg.WIW.Token.Fresh)
		s.look()
		s.timer.Go(s.keepLooking)
		return s, nil
	}
	login, err := wiw.NewLogin(wiw.LoginConfig{
		URL:         cfg.WIW.LoginURL.Reveal(),
		Credentials: cfg.credentials,
		Timeout:     cfg.WIW.Timeout,
		OnAttempt: func() {
			stats.loginTried()
			attempted()
		},
		OnLogin: func(ends time.Time) {
			stats.loggedIn()
			log.Info("logged in to when i work", "token_ends", ends.UTC().Format(time.RFC3339))
		},
		OnLate: s.late,
	})
	if err != nil {
		return nil, err
	}
	s.from, s.login = login.Token, login
	return s, nil
}

func (c *config) credentials() (wiw.Credentials, error) {
	key, err := c.WIW.Developer.Fresh()
	if err != nil {
		return wiw.Credentials{}, err
	}
	password, err := c.WIW.Password.Fresh()
	if err != nil {
		return wiw.Credentials{}, err
	}
	return wiw.Credentials{DeveloperKey: key, Email: c.WIW.Email, Password: password}, nil
}

// Token is the wiw.TokenSource of the session.
func (s *session) Token(ctx context.Context, refused string) (string, error) {
	token, err := s.from(ctx, refused)
	if err == nil {
		s.note(token)
	}
	return token, err
}

func (s *session) note(token string) {
	ends, known := wiw.TokenEnd(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != s.token {
		if s.token != "" && s.login == nil {
			s.log.Info("the session token was replaced")
		}
		s.token, s.told = token, warned{}
	}
	if !known {
		return
	}
	left := time.Until(ends)
	s.stats.tokenLeft(left)
	if s.login != nil || !s.told.due(left) {
		return // a login warns when it cannot replace the token, and not before
	}
	const advice = ": write a new one to the file of WIW_KEY_FILE, or set WIW_KEY anew and start again; " +
		"with WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD slotsync gets them itself"
	if left > 0 {
		s.log.Warn("the session token ends soon"+advice, ending(ends)...)
	} else {
		s.log.Warn("the session token is over"+advice, ending(ends)...)
	}
}

// late warns that the token in hand ends and the login gives no other.
func (s *session) late(ends time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told.due(time.Until(ends)) {
		s.log.Warn("the session token ends soon, and a new login went wrong; it is tried again until then", append(ending(ends), "err", err)...)
	}
}

func ending(ends time.Time) []any {
	return []any{"token_ends", ends.UTC().Format(time.RFC3339), "left_hours", math.Round(time.Until(ends).Hours()*10) / 10}
}

// keepLooking looks after a token that is a setting, which ages while this worker stands by or sleeps. One from a login
// may then end: it is replaced when it is needed.
func (s *session) keepLooking() {
	ticker := time.NewTicker(everyGauge)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.look()
		case <-s.stop:
			return
		}
	}
}

// look asks for the token as a request would. An error is for the request to tell.
func (s *session) look() { _, _ = s.Token(context.Background(), "") }

// Close stops looking and drops the login's connections.
func (s *session) Close() error {
	close(s.stop)
	s.timer.Wait()
	if s.login != nil {
		return s.login.Close()
	}
	return nil
}

// warned remembers how close to its end a token was when it was last warned of.
type warned struct {
	some bool
	at   time.Duration
}

// due tells whether to warn with so much time left: once two days, one day, six hours and one hour before the end,
// and once behind it.
func (w *warned) due(left time.Duration) bool {
	for _, at := range []time.Duration{0, time.Hour, 6 * time.Hour, 24 * time.Hour, 48 * time.Hour} {
		if left > at {
			continue
		}
		if w.some && w.at <= at {
			return false
		}
		w.some, w.at = true, at
		return true
	}
	return false
}
