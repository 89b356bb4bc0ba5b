package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

const (
	loginKey      = "made-up-developer-key"
	loginEmail    = "ada@example.invalid"
	loginPassword = "made-up-password"
)

// loginWorld returns a world whose API wants a login, and the settings for it.
func loginWorld(t *testing.T, life time.Duration) (*world.World, map[string]string) {
	t.Helper()
	w := start(t, world.Options{Shifts: 20, Partitions: 2})
	w.API.SetLogin(wiwtest.Login{DeveloperKey: loginKey, Email: loginEmail, Password: loginPassword, Life: life})
	return w, map[string]string{
		"WIW_KEY": "", "WIW_RATE": "6000", "SYNC_SLEEP_PERIOD_SECONDS": "0",
		"WIW_DEVELOPER_KEY": loginKey, "WIW_EMAIL": loginEmail, "WIW_PASSWORD": loginPassword, "WIW_LOGIN_URL": w.APIURL + "/login",
	}
}

// noSecret fails if a secret of the login, or a token that it gave, is in the text.
func noSecret(t *testing.T, w *world.World, text string) {
	t.Helper()
	for _, secret := range append(w.API.Tokens(), loginKey, loginEmail, loginPassword) {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in\n%s", secret, text)
		}
	}
}

func TestALoginOpensTheAPI(t *testing.T) {
	for _, c := range []struct{ claim, path, token string }{
		{"in the present form", "/login", ""},
		{"in the older form", "/2/login", ""},
		{"beside a token, which is not used", "/login", "a-token"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w, settings := loginWorld(t, 0)
			settings["WIW_LOGIN_URL"], settings["WIW_KEY"] = w.APIURL+c.path, c.token
			rep, code, log := once(t, w, settings)
			if code != 0 || published(rep) != len(truth(w)) || w.API.Logins() != 1 {
				t.Errorf("got exit %d, %d published after %d logins\n%s", code, published(rep), w.API.Logins(), log)
			}
			if warned := strings.Contains(log, "WIW_KEY is set beside a login"); warned != (c.token != "") {
				t.Errorf("got the warning: %v\n%s", warned, log)
			}
			for _, r := range w.API.Requests() {
				if c.token != "" && r.Header.Get("W-Token") == c.token {
					t.Error("the token was used")
				}
			}
			inStep(t, w)
			noSecret(t, w, log)
		})
	}
}

func TestARevokedTokenCostsOneLogin(t *testing.T) {
	w, settings := loginWorld(t, 0)
	log := loop(t, in(w, settings))
	log.until(t, good, 2)
	w.API.Churn(5)
	w.API.Revoke()
	seen := strings.Count(log.String(), good)
	log.until(t, good, seen+3)
	log.halt(t)
	if n := w.API.Logins(); n != 2 || strings.Contains(log.String(), bad) {
		t.Errorf("got %d logins\n%s", n, log)
	}
	inStep(t, w)
	noSecret(t, w, log.String())
}

func TestAWrongPasswordHelpsItsOperator(t *testing.T) {
	t.Parallel()
	w, settings := loginWorld(t, 0)
	settings["WIW_PASSWORD"] = "wrong-password"
	_, code, text := once(t, w, settings)
	if code != 1 || !strings.Contains(text, "401 Unauthorized") || !strings.Contains(text, "are WIW_EMAIL and WIW_PASSWORD right?") {
		t.Errorf("got exit %d\n%s", code, text)
	}
	noSecret(t, w, text)
	if strings.Contains(text, "wrong-password") {
		t.Errorf("the password is in\n%s", text)
	}

	w.API.Forget()
	log := loop(t, in(w, settings))
	log.until(t, bad, 4)
	log.halt(t)
	if n := len(w.API.Requests()); n != 1 {
		t.Errorf("the API got %d requests in 4 passes, want one login", n)
	}
	if strings.Contains(log.String(), "wrong-password") || strings.Contains(log.String(), loginEmail) {
		t.Errorf("a secret is in\n%s", log)
	}
}

func TestAReplacedPasswordIsUsedByTheNextPass(t *testing.T) {
	t.Parallel()
	w, settings := loginWorld(t, 0)
	path := file(t, "wrong\n")
	settings["WIW_PASSWORD"], settings["WIW_PASSWORD_FILE"] = "", path
	log := loop(t, in(w, settings))
	log.until(t, bad, 3)
	if err := os.WriteFile(path+".new", []byte(loginPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	log.until(t, good, 1)
	log.halt(t)
	if n := w.API.Logins(); n != 2 {
		t.Errorf("got %d logins", n)
	}
	inStep(t, w)
	noSecret(t, w, log.String())
}

func TestAReplacedTokenIsUsedByTheNextPass(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 20, Partitions: 2})
	path := file(t, "the-old-token\n")
	log := loop(t, in(w, map[string]string{"WIW_KEY": "", "WIW_KEY_FILE": path, "SYNC_SLEEP_PERIOD_SECONDS": "0"}))
	log.until(t, bad, 3)
	if err := os.WriteFile(path, []byte(w.Env()["WIW_KEY"]), 0o600); err != nil {
		t.Fatal(err)
	}
	log.until(t, good, 1)
	log.halt(t)
	if !strings.Contains(log.String(), "the session token was replaced") {
		t.Errorf("got\n%s", log)
	}
	inStep(t, w)
}

func TestAnEndingTokenIsReplacedBefore(t *testing.T) {
	t.Parallel()
	w, settings := loginWorld(t, 6*time.Second)
	log := loop(t, in(w, settings))
	log.until(t, "logged in", 2)
	seen := strings.Count(log.String(), good)
	log.until(t, good, seen+2)
	log.halt(t)
	refused := 0
	for _, r := range w.API.Requests() {
		if r.Method == http.MethodGet && !r.Token {
			refused++
		}
	}
	if refused > 0 || strings.Contains(log.String(), bad) {
		t.Errorf("got %d requests with a token that was over\n%s", refused, log)
	}
	noSecret(t, w, log.String())
}

func TestALoginThatIsAwayFailsThePass(t *testing.T) {
	w, settings := loginWorld(t, 0)
	for _, c := range []struct {
		claim string
		fault wiwtest.Fault
		says  string
	}{
		{"throttled", wiwtest.Status(403, `{"error":"Slow down"}`), "taken as a request to slow down"},
		{"no right", wiwtest.Status(403, `{"error":"You do not have permission to do this.","code":3005}`), "may this login use the API?"},
		{"the wrong address", wiwtest.HTML(404), "WIW_LOGIN_URL must be the login itself"},
		{"no token", wiwtest.Body(`{"person":{}}`), "no token in it"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w.API.FailLogin(1, c.fault)
			_, code, log := once(t, w, settings)
			if code != 1 || !strings.Contains(log, "POST "+w.APIURL+"/login: ") || !strings.Contains(log, c.says) {
				t.Errorf("got exit %d, want 1 and %q in\n%s", code, c.says, log)
			}
			noSecret(t, w, log)
		})
	}
}

func TestAnAttemptToLogInIsASignOfLife(t *testing.T) {
	w, settings := loginWorld(t, 0)
	for claim, fault := range map[string]wiwtest.Fault{"one that gives a token": nil, "a refused one": wiwtest.Status(401, `{}`)} {
		w.API.FailLogin(1, fault)
		seen := watch(t, false, settings)
		source, err := newSource(loadOK(t, minimal(settings)), quiet(), seen.observer)
		if err != nil {
			t.Fatal(err)
		}
		before := seen.health.sign
		if _, err := source.session.Token(t.Context(), ""); (err == nil) != (fault == nil) {
			t.Errorf("%s: got %v", claim, err)
		}
		if !seen.health.sign.After(before) {
			t.Errorf("%s: there was no sign", claim)
		}
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}
}
