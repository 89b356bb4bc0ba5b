package wiw_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

const (
	key      = "made-up-developer-key"
	email    = "ada@example.invalid"
	password = "made-up pass-word \" \\ <é>"
)

// account is who may log in at the fakes.
func account() wiwtest.Login {
	return wiwtest.Login{DeveloperKey: key, Email: email, Password: password}
}

func credentials() (wiw.Credentials, error) {
	return wiw.Credentials{DeveloperKey: key, Email: email, Password: password}, nil
}

// newLogin returns a login at the fake, without a socket, unless cfg says where to.
func newLogin(t *testing.T, fake http.Handler, cfg wiw.LoginConfig) *wiw.Login {
	t.Helper()
	if cfg.Credentials == nil {
		cfg.Credentials = credentials
	}
	if fake != nil {
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { return wiwtest.RoundTrip(fake, r) })
	}
	login, err := wiw.NewLogin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = login.Close() })
	return login
}

// newAPI returns a fake that wants a login, and a client that logs in there.
func newAPI(t *testing.T, who wiwtest.Login, cfg wiw.LoginConfig) (*wiwtest.Server, *wiw.Client) {
	fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
	fake.SetLogin(who)
	return fake, newClient(t, fake, wiw.Config{Rate: 6000, Token: newLogin(t, fake, cfg).Token})
}

func TestALoginInEitherForm(t *testing.T) {
	for _, tt := range []struct{ claim, url string }{
		{"the present form is the default", ""},
		{"the present form", "https://login.test/login"},
		{"the older form", "https://api.test/2/login"},
		{"the older form behind a prefix", "https://api.test/proxy/2/login/"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			fake := wiwtest.New(wiwtest.Options{})
			fake.SetLogin(account())
			login := newLogin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = strings.TrimPrefix(r.URL.Path, "/proxy")
				fake.ServeHTTP(w, r)
			}), wiw.LoginConfig{URL: tt.url})
			got, err := login.Token(t.Context(), "")
			if err != nil || len(fake.Tokens()) != 1 || got != fake.Tokens()[0] {
				t.Fatalf("got %q, %v, want %q", got, err, fake.Tokens())
			}
			again, err := login.Token(t.Context(), "")
			if err != nil || again != got || fake.Logins() != 1 {
				t.Errorf("got %q, %v after %d logins, want the same token", again, err, fake.Logins())
			}
			if r := fake.Requests()[0]; r.Header.Get("W-Key") != key || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("W-Token") != "" {
				t.Errorf("got the headers %v", r.Header)
			}
		})
	}
}

func TestTheTokenIsFoundWhereItHasBeenSeen(t *testing.T) {
	for _, tt := range []struct{ claim, body, want, fault string }{
		{"at the top", `{"token":"t","id":1}`, "t", ""},
		{"in login", `{"login":{"id":1,"token":"t"}}`, "t", ""},
		{"in person", `{"person":{"token":"t"}}`, "t", ""},
		{"as access token", `{"access_token":"t"}`, "t", ""},
		{"in login rather than elsewhere", `{"token":"a","users":[{"token":"b"}],"person":{"token":"c"},"login":{"token":"t"},"access_token":"d"}`, "t", ""},
		{"not in users", `{"users":[{"token":"b"}]}`, "", "no token in it"},
		{"not null", `{"token":null,"person":{"token":"t"}}`, "t", ""},
		{"not an object", `{"token":{"token":"x"},"person":"x","login":[1],"access_token":"t"}`, "t", ""},
		{"an error that is none", `{"error":false,"token":"t"}`, "t", ""},
		{"an error beside it", `{"error":"No.","code":"X","token":"t"}`, "", "200 OK (code X): No;"},
		{"nowhere", `{}`, "", "no token in it"},
		{"empty", `{"token":""}`, "", "no token in it"},
		{"a line end in it", `{"token":"t\r\nW-UserId: 1"}`, "", "cannot be sent"},
		{"too long for a header", `{"token":"` + strings.Repeat("t", 7<<10) + `"}`, "", "cannot be sent"},
		{"cut off", `{"token":"t"`, "", "gave up after 4 attempts: answer: not JSON"},
		{"no object", `[]`, "", "gave up after 4 attempts: answer: not a JSON object"},
		{"too large", `{"token":"t","users":"` + strings.Repeat("u", 1<<20) + `"}`, "", "too long: over 1048576 bytes"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := wiwtest.New(wiwtest.Options{})
				fake.FailLogin(-1, wiwtest.Body(tt.body))
				got, err := newLogin(t, fake, wiw.LoginConfig{}).Token(t.Context(), "")
				if got != tt.want || tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
					t.Errorf("got %q, %v, want %q, %q", got, err, tt.want, tt.fault)
				}
			})
		})
	}
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		fake.FailLogin(-1, wiwtest.Endless(`{"users":[0`, `,0`))
		_, err := newLogin(t, fake, wiw.LoginConfig{}).Token(t.Context(), "")
		if err == nil || !strings.Contains(err.Error(), "too long") || fake.Logins() != 1 {
			t.Errorf("got %v after %d logins", err, fake.Logins())
		}
	})
}

// What went wrong with a login, how often it was tried within a pass, and what the operator reads.
func TestARefusedLogin(t *testing.T) {
	const prefix = "log in: POST https://api.login.wheniwork.com/login: "
	for _, tt := range []struct {
		claim    string
		fault    wiwtest.Fault
		want     string
		attempts int
		atMost   time.Duration // that Token took
		held     time.Duration // at least so long nothing is asked; 0: the next call asks
	}{
		{"wrong password", wiwtest.Status(401, `{"error":"No ada@example.invalid here.","code":9}`), "401 Unauthorized (code 9): No [redacted] here; are WIW_EMAIL and WIW_PASSWORD right?", 1, 0, time.Minute},
		{"no developer key", wiwtest.Status(401, `{"error":"Please","code":1110}`), "is WIW_DEVELOPER_KEY the developer key", 1, 0, time.Minute},
		{"no developer key, with another status", wiwtest.Status(403, `{"error":"Please","code":"1110"}`), "is WIW_DEVELOPER_KEY the developer key", 1, 0, time.Minute},
		{"no developer key, with a good status", wiwtest.Status(200, `{"error":"Please","code":1110}`), "is WIW_DEVELOPER_KEY the developer key", 1, 0, time.Minute},
		{"no right", wiwtest.Status(403, `{"error":"You do not have permission to do this.","code":3005}`), "may this login use the API?", 1, 0, time.Minute},
		{"throttled by 403", wiwtest.Status(403, `{"error":"Slow down"}`), "taken as a request to slow down", 1, 0, time.Minute},
		{"429 stays", wiwtest.Throttled(""), "gave up after 4 attempts: 429", 4, 11 * time.Second, 50 * time.Second},
		{"429 for long", wiwtest.Throttled("300"), "asks to wait 5m0s", 1, 0, 5 * time.Minute},
		{"400", wiwtest.Status(400, `{"error":"x"}`), "is WIW_LOGIN_URL?", 1, 0, time.Minute},
		{"404", wiwtest.HTML(404), "404 Not Found; WIW_LOGIN_URL", 1, 0, time.Minute},
		{"a redirect", wiwtest.Status(302, ``, "Location", "https://other.test/?x=1"), "redirects are not followed; WIW_LOGIN_URL must be the login itself, not what sends on to other.test", 1, 0, time.Minute},
		{"503 stays", wiwtest.HTML(503), "gave up after 4 attempts: 503 Service Unavailable", 4, 11 * time.Second, 0},
		{"418 stays", wiwtest.Status(418, ``), "gave up after 4 attempts: 418", 4, 11 * time.Second, 0},
		{"a page instead of an answer", wiwtest.HTML(200), "gave up after 4 attempts: 200 with text/html", 4, 11 * time.Second, 0},
		{"silence", wiwtest.Hang(), "gave up after 4 attempts: no whole answer within 30s", 4, 131 * time.Second, 0},
		{"an answer in drops", wiwtest.Slow(3, 20*time.Second), "no whole answer within 30s", 4, 131 * time.Second, 0},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := wiwtest.New(wiwtest.Options{})
				fake.SetLogin(account())
				fake.FailLogin(-1, tt.fault)
				login := newLogin(t, fake, wiw.LoginConfig{})
				began := time.Now()
				token, err := login.Token(t.Context(), "")
				if token != "" || err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %q, %v, want %q", token, err, tt.want)
				}
				for _, secret := range []string{key, email, password} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the error tells a secret: %v", err)
					}
				}
				if took := time.Since(began); took > tt.atMost || fake.Logins() != tt.attempts {
					t.Errorf("got %d attempts in %s, want %d in %s", fake.Logins(), took, tt.attempts, tt.atMost)
				}

				fake.FailLogin(0, nil)
				_, err = login.Token(t.Context(), "")
				if held := err != nil; held != (tt.held > 0) {
					t.Fatalf("got %v right after it, want held back: %v", err, tt.held > 0)
				}
				if tt.held == 0 {
					return
				}
				var status *wiw.StatusError
				if !strings.HasPrefix(err.Error(), prefix+"not asked again before 2000-01-01T00:") || !errors.As(err, &status) {
					t.Errorf("got %v while held back, want the refusal again", err)
				}
				<-time.After(tt.held - time.Second)
				if _, err = login.Token(t.Context(), ""); err == nil || fake.Logins() != tt.attempts {
					t.Errorf("got %v, %d logins before its time", err, fake.Logins())
				}
				<-time.After(30 * time.Second)
				if _, err = login.Token(t.Context(), ""); err != nil {
					t.Errorf("got %v after its time", err)
				}
			})
		})
	}
}

func TestAWrongPasswordIsTriedMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newAPI(t, account(), wiw.LoginConfig{Credentials: func() (wiw.Credentials, error) {
			return wiw.Credentials{DeveloperKey: key, Email: email, Password: "wrong"}, nil
		}})
		for range 24 * 60 { // a day of passes, one each minute
			if _, err := readAll(client, month); err == nil || strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), email) {
				t.Fatalf("got %v", err)
			}
			<-time.After(time.Minute)
		}
		// At 0, 1, 3, 7, 15, 31 and 63 minutes, and then each hour.
		if n := fake.Logins(); n < 25 || n > 30 || len(fake.Requests()) != n {
			t.Errorf("got %d logins in a day of %d requests, want about 29", n, len(fake.Requests()))
		}
	})
}

func TestOtherCredentialsAreTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := "wrong"
		var unreadable error
		fake, client := newAPI(t, account(), wiw.LoginConfig{Credentials: func() (wiw.Credentials, error) {
			return wiw.Credentials{DeveloperKey: key, Email: email, Password: now}, unreadable
		}})
		for range 3 {
			if _, err := readAll(client, month); err == nil {
				t.Fatal("got no error")
			}
		}
		unreadable = errors.New("WIW_PASSWORD_FILE is gone")
		if _, err := readAll(client, month); !errors.Is(err, unreadable) || fake.Logins() != 1 {
			t.Errorf("got %v after %d logins", err, fake.Logins())
		}
		now, unreadable = password, nil
		got, err := readAll(client, month)
		if err != nil || fake.Logins() != 2 {
			t.Fatalf("got %v after %d logins", err, fake.Logins())
		}
		sameShifts(t, got, fake.Truth(month))
	})
}

// Whichever of the three was replaced, the new one does not wait for the end of the old one's refusal.
func TestEachOfTheCredentialsIsPartOfWhatWasRefused(t *testing.T) {
	right := wiw.Credentials{DeveloperKey: key, Email: email, Password: password}
	for claim, wrong := range map[string]wiw.Credentials{
		"the developer key":  {DeveloperKey: "wrong", Email: email, Password: password},
		"the e-mail address": {DeveloperKey: key, Email: "wrong", Password: password},
		"the password":       {DeveloperKey: key, Email: email, Password: "wrong"},
	} {
		synctest.Test(t, func(t *testing.T) {
			now := wrong
			fake, client := newAPI(t, account(), wiw.LoginConfig{Credentials: func() (wiw.Credentials, error) { return now, nil }})
			for range 2 {
				if _, err := readAll(client, month); err == nil || fake.Logins() != 1 {
					t.Fatalf("a wrong one of %s: got %v after %d logins, want an error after one", claim, err, fake.Logins())
				}
			}
			now = right
			if _, err := readAll(client, month); err != nil || fake.Logins() != 2 {
				t.Errorf("%s was replaced: got %v after %d logins, want none after 2", claim, err, fake.Logins())
			}
		})
	}
}

func TestThrottlingHoldsForAnyCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := "wrong"
		fake, client := newAPI(t, account(), wiw.LoginConfig{Credentials: func() (wiw.Credentials, error) {
			return wiw.Credentials{DeveloperKey: key, Email: email, Password: now}, nil
		}})
		fake.FailLogin(1, wiwtest.Status(403, ``))
		for range 2 {
			if _, err := readAll(client, month); err == nil || !strings.Contains(err.Error(), "slow down") {
				t.Fatalf("got %v", err)
			}
			now = password
		}
		if fake.Logins() != 1 {
			t.Errorf("got %d logins", fake.Logins())
		}
	})
}

func TestARefusedTokenIsReplacedByOneLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newAPI(t, account(), wiw.LoginConfig{})
		for n := 1; n <= 3; n++ {
			got, err := readAll(client, month)
			if err != nil || fake.Logins() != n {
				t.Fatalf("got %v after %d logins, want %d", err, fake.Logins(), n)
			}
			sameShifts(t, got, fake.Truth(month))
			<-time.After(2 * time.Hour) // what lives so long is worth a new one
			fake.Revoke()
		}
	})
}

func TestAnAPIThatTakesNoTokenIsNotMetWithLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newAPI(t, account(), wiw.LoginConfig{})
		fake.Fail(-1, wiwtest.Status(401, `{"error":"User login required for this resource.","code":1000}`))
		var last error
		for range 24 * 60 {
			if _, last = readAll(client, month); last == nil {
				t.Fatal("got no error")
			}
			<-time.After(time.Minute)
		}
		if n := fake.Logins(); n < 24 || n > 36 {
			t.Errorf("got %d logins in a day", n)
		}
		if !strings.Contains(last.Error(), "WIW_USER_ID") {
			t.Errorf("got %v", last)
		}
		fake.Heal()
		<-time.After(time.Hour)
		if _, err := readAll(client, month); err != nil {
			t.Errorf("got %v after it healed", err)
		}
	})
}

func TestATokenIsReplacedBeforeItsEnd(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		claim  string
		life   time.Duration
		opaque bool
		renew  time.Duration // after which a token is replaced
	}{
		{"a week: two days before", week, false, week - 48*time.Hour},
		{"one that does not say: a week", week, true, week - 48*time.Hour},
		{"an hour: twenty minutes before", time.Hour, false, 40 * time.Minute},
		{"a month", 30 * 24 * time.Hour, false, 28 * 24 * time.Hour},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				who := account()
				who.Life, who.Opaque = tt.life, tt.opaque
				fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
				fake.SetLogin(who)
				var ends []time.Time
				login := newLogin(t, fake, wiw.LoginConfig{OnLogin: func(at time.Time) { ends = append(ends, at) }})
				client := newClient(t, fake, wiw.Config{Token: login.Token})
				step := tt.renew / 50
				for i := range 200 {
					if _, err := readAll(client, month); err != nil {
						t.Fatalf("pass %d: %v", i, err)
					}
					if got, want := fake.Logins(), 1+i/50; got != want {
						t.Fatalf("after %s: got %d logins, want %d", time.Duration(i)*step, got, want)
					}
					<-time.After(step)
				}
				for _, r := range fake.Requests() {
					if r.Method == http.MethodGet && !r.Token {
						t.Error("a request came with a token that was over")
					}
				}
				if len(ends) != 4 || ends[1].Sub(ends[0]) != tt.renew {
					t.Errorf("got the ends %v", ends)
				}
			})
		})
	}
}

// Whoever issues tokens need not have our clock.
func TestATokensLifeDoesNotHangOnOurClock(t *testing.T) {
	for _, tt := range []struct {
		claim        string
		issued, ends time.Duration // from now
		want         time.Duration // until it is replaced
	}{
		{"our clock is late", time.Hour, 2 * time.Hour, 40 * time.Minute},
		{"our clock is early by more than a life", -5 * time.Hour, -4 * time.Hour, 40 * time.Minute},
		{"it was issued before", -30 * time.Minute, 30 * time.Minute, 20 * time.Minute},
		{"it has lost its life", time.Hour, -time.Hour, 5 * 24 * time.Hour},
		{"it hardly lives", 0, time.Millisecond, time.Second},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := wiwtest.New(wiwtest.Options{})
				token := wiwtest.JWT(time.Now().Add(tt.issued), time.Now().Add(tt.ends), 1)
				fake.FailLogin(-1, wiwtest.Body(`{"token":"`+token+`"}`))
				login := newLogin(t, fake, wiw.LoginConfig{})
				for _, wait := range []time.Duration{0, tt.want - time.Millisecond*2, 4 * time.Millisecond} {
					<-time.After(wait)
					if _, err := login.Token(t.Context(), ""); err != nil {
						t.Fatal(err)
					}
				}
				if n := fake.Logins(); n != 2 && !strings.HasPrefix(tt.claim, "it hardly") {
					t.Errorf("got %d logins after %s, want 2", n, tt.want)
				}
			})
		})
	}
}

func TestALateLoginIsToldWhileTheTokenLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late []time.Time
		var why error
		fake, client := newAPI(t, account(), wiw.LoginConfig{OnLate: func(ends time.Time, err error) {
			late, why = append(late, time.Now()), err
			if left := time.Until(ends); left <= 0 || left > 48*time.Hour {
				t.Errorf("told that it ends in %s", left)
			}
		}})
		began := time.Now()
		pass := func(wantErr bool) {
			t.Helper()
			if _, err := readAll(client, month); (err != nil) != wantErr {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			<-time.After(20 * time.Minute)
		}
		pass(false)
		fake.FailLogin(-1, wiwtest.HTML(503))
		for time.Since(began) < 7*24*time.Hour {
			pass(false) // the token in hand is as good as ever
		}
		if n := len(late); n < 40 || n > 60 || why == nil || !strings.Contains(why.Error(), "503") {
			t.Errorf("told of %d late logins, the last was %v", n, why)
		}
		if n := fake.Logins() - 1; n != len(late) {
			t.Errorf("got %d attempts for %d late logins", n, len(late))
		}
		pass(true) // it is over
		fake.FailLogin(0, nil)
		pass(false)
	})
}

func TestOneLoginAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		fake.SetLogin(account())
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-time.After(time.Second)
			fake.ServeHTTP(w, r)
		})
		login := newLogin(t, slow, wiw.LoginConfig{})
		refused := ""
		for n := 1; n <= 2; n++ {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if got, err := login.Token(t.Context(), refused); err != nil || got == refused {
						t.Errorf("got %q, %v", got, err)
					}
				})
			}
			all.Wait()
			if fake.Logins() != n {
				t.Errorf("got %d logins, want %d", fake.Logins(), n)
			}
			refused, _ = login.Token(t.Context(), "")
		}

	})
}

func TestALoginEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		fake.SetLogin(account())
		fake.FailLogin(1, wiwtest.Hang())
		login := newLogin(t, fake, wiw.LoginConfig{})
		began := time.Now()
		var both sync.WaitGroup
		for _, patience := range []time.Duration{5 * time.Second, 2 * time.Second} { // of who logs in, and of who waits for it
			both.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if _, err := login.Token(ctx, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != patience {
					t.Errorf("got %v after %s, want its own end after %s", err, time.Since(began), patience)
				}
			})
			synctest.Wait()
		}
		both.Wait()
		if _, err := login.Token(t.Context(), ""); err != nil {
			t.Errorf("a stop is no refusal: %v", err)
		}
	})
}

func TestALoginIsNotSentElsewhere(t *testing.T) {
	elsewhere := wiwtest.New(wiwtest.Options{})
	elsewhere.SetLogin(account())
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL+"/login", status))
		_, err := newLogin(t, nil, wiw.LoginConfig{URL: server.URL + "/login"}).Token(t.Context(), "")
		if err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
			t.Errorf("%d: got %v", status, err)
		}
		server.Close()
	}
	if n := len(elsewhere.Requests()); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

func TestAnUnreachableLoginKeepsItsSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		login := newLogin(t, nil, wiw.LoginConfig{
			URL:       "https://user:" + "url-secret@login.test/login",
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }),
		})
		_, err := login.Token(t.Context(), "")
		if want := "log in: POST https://login.test/login: gave up after 4 attempts: connection refused"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestAWrongLoginConfigIsNamed(t *testing.T) {
	_, err := wiw.NewLogin(wiw.LoginConfig{URL: "login.test", Timeout: -1})
	for _, want := range []string{"url", "credentials", "timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

// Somebody waits for signs of life: four attempts at a silent login take minutes.
func TestEachAttemptAtALoginIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		fake.SetLogin(account())
		fake.FailLogin(4, wiwtest.Hang())
		began, last := time.Now(), time.Now()
		var longest time.Duration
		told := 0
		login := newLogin(t, fake, wiw.LoginConfig{OnAttempt: func() {
			told++
			longest = max(longest, time.Since(last))
			last = time.Now()
		}})
		if _, err := login.Token(t.Context(), ""); err == nil || told != 4 {
			t.Errorf("got %v, told %d times, want 4", err, told)
		}
		if took := time.Since(began); took < 2*time.Minute || longest > 53*time.Second {
			t.Errorf("told at least each %s in %s", longest, took)
		}
		if _, err := login.Token(t.Context(), ""); err != nil || told != 5 {
			t.Errorf("of a login that works: got %v, told %d times, want 5", err, told)
		}
	})
}
