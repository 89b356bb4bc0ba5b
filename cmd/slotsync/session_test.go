package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// aSession is a session, and what people see of it.
type aSession struct {
	*session
	log   *logged
	told  *int // bytes of the log that warnings returned
	stats *recorder
}

func openSession(t *testing.T, e env) aSession {
	t.Helper()
	log := newLogged()
	cfg := loadOK(t, minimal(e))
	m, r := recording(t)
	s, err := newSession(cfg, newLog(&screen{w: log}, cfg), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return aSession{s, log, new(int), r}
}

// warnings returns the messages since the last call, each with its hours.
func (s aSession) warnings(t *testing.T) (texts []string, hours []float64) {
	t.Helper()
	synctest.Wait()
	seen := s.log.String()
	for line := range strings.Lines(seen[*s.told:]) {
		var entry struct {
			Msg  string  `json:"msg"`
			Left float64 `json:"left_hours"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		texts, hours = append(texts, entry.Msg), append(hours, entry.Left)
	}
	*s.told = len(seen)
	return texts, hours
}

func lasting(life time.Duration) string {
	return wiwtest.JWT(time.Now(), time.Now().Add(life), int(life))
}

func TestATokensEndIsWarnedOfInTime(t *testing.T) {
	for _, c := range []struct {
		claim string
		life  time.Duration
		want  []float64 // hours left
	}{
		{"a week", 7 * 24 * time.Hour, []float64{48, 24, 6, 1, 0}},
		{"one that is old already", 3*time.Hour + 5*time.Second, []float64{3, 1, 0}},
		{"one that is over", -2 * time.Hour, []float64{-2}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openSession(t, env{"WIW_KEY": lasting(c.life)})
				<-time.After(10 * 24 * time.Hour)
				texts, hours := s.warnings(t)
				if !slices.Equal(hours, c.want) {
					t.Fatalf("warned with %v hours left, want %v:\n%s", hours, c.want, strings.Join(texts, "\n"))
				}
				for i, text := range texts {
					if over := strings.HasPrefix(text, "the session token is over"); over != (hours[i] <= 0) || !strings.Contains(text, "WIW_KEY_FILE") {
						t.Errorf("got %q with %v hours left", text, hours[i])
					}
				}
			})
		})
	}
}

func TestATokensLifeIsAGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSession(t, env{"WIW_KEY": lasting(time.Hour)})
		for _, c := range []struct {
			after time.Duration
			want  float64
		}{{0, 3600}, {25 * time.Second, 3580}, {65 * time.Minute, -310 + 5 - 15}} { // it is told each 10 s
			<-time.After(c.after)
			synctest.Wait()
			if got, _ := s.stats.gauge(metricToken); got != c.want {
				t.Errorf("after %s more: got %v, want %v", c.after, got, c.want)
			}
		}
	})
}

func TestAnOpaqueTokenHasNoGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSession(t, nil)
		<-time.After(30 * 24 * time.Hour)
		if got, told := s.stats.gauge(metricToken); told {
			t.Errorf("got %v", got)
		}
		if texts, _ := s.warnings(t); len(texts) > 0 {
			t.Errorf("got %q", texts)
		}
	})
}

func TestAReplacedTokenEndsTheWarnings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := file(t, lasting(7*24*time.Hour))
		s := openSession(t, env{"WIW_KEY": "", "WIW_KEY_FILE": path})
		<-time.After(5*24*time.Hour + time.Hour)
		if _, hours := s.warnings(t); !slices.Equal(hours, []float64{48}) {
			t.Errorf("warned with %v hours left", hours)
		}
		if err := os.WriteFile(path, []byte(lasting(7*24*time.Hour)), 0o600); err != nil {
			t.Fatal(err)
		}
		<-time.After(4 * 24 * time.Hour)
		if texts, _ := s.warnings(t); !slices.Equal(texts, []string{"the session token was replaced"}) {
			t.Errorf("got %q", texts)
		}
		<-time.After(24 * time.Hour)
		if _, hours := s.warnings(t); !slices.Equal(hours, []float64{48}) {
			t.Errorf("of the new one: warned with %v hours left", hours)
		}
	})
}

func TestALateLoginIsWarnedOfAsSeldomAsAnEndingToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSession(t, env{"WIW_DEVELOPER_KEY": "k", "WIW_EMAIL": "a@b.example", "WIW_PASSWORD": "p", "WIW_KEY": ""})
		ends := time.Now().Add(48 * time.Hour)
		for time.Until(ends) > 0 {
			s.late(ends, errors.New("503"))
			<-time.After(10 * time.Minute)
		}
		if _, hours := s.warnings(t); !slices.Equal(hours, []float64{48, 24, 6, 1}) {
			t.Errorf("warned with %v hours left", hours)
		}
	})
}

func TestALoginThatWorksWarnsOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := wiwtest.New(wiwtest.Options{})
		api.SetLogin(wiwtest.Login{DeveloperKey: loginKey, Email: loginEmail, Password: loginPassword, Life: time.Hour})
		login, err := wiw.NewLogin(wiw.LoginConfig{Transport: api, Credentials: func() (wiw.Credentials, error) {
			return wiw.Credentials{DeveloperKey: loginKey, Email: loginEmail, Password: loginPassword}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := openSession(t, env{"WIW_KEY": "", "WIW_DEVELOPER_KEY": loginKey, "WIW_EMAIL": loginEmail, "WIW_PASSWORD": loginPassword})
		s.from = login.Token
		for range 100 {
			if _, err := s.Token(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if left, _ := s.stats.gauge(metricToken); left < 20*60 {
				t.Errorf("got %v s left", left)
			}
			<-time.After(5 * time.Minute)
		}
		if texts, _ := s.warnings(t); len(texts) > 0 {
			t.Errorf("got %q", texts)
		}
	})
}

func TestLoginsAreCountedThoseThatFailToo(t *testing.T) {
	for _, c := range []struct {
		claim, password string
		code            int
		logins          bool
	}{{"a login", loginPassword, 0, true}, {"a wrong password", "another", 1, false}} {
		t.Run(c.claim, func(t *testing.T) {
			w, settings := loginWorld(t, 0)
			server := receive(t)
			settings["STATSD_HOST"], settings["STATSD_PORT"], _ = net.SplitHostPort(server.conn.LocalAddr().String())
			settings["WIW_PASSWORD"] = c.password
			if _, code, log := once(t, w, settings); code != c.code {
				t.Fatalf("got exit %d, want %d\n%s", code, c.code, log)
			}
			lines := server.lines(t, 10)
			if !slices.Contains(lines, "slot_sync.wiw.login.attempts:1|c") || slices.Contains(lines, "slot_sync.wiw.logins:1|c") != c.logins {
				t.Errorf("got\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}
