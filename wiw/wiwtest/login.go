package wiwtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Login says who may log in, and what the token of a login is like.
type Login struct {
	DeveloperKey, Email, Password string

	Life   time.Duration // of a token; default 7 days
	Opaque bool          // 40 hexadecimal digits, as before there were JWTs
}

// logins is what a server knows of those who logged in.
type logins struct {
	who    Login
	on     bool
	given  map[string]time.Time // token to its end
	count  int
	fault  Fault
	faults int // times; below 0: always
}

// SetLogin lets somebody log in, by POST /login or in the older form by POST /2/login. From then on a list needs a
// token that a login gave and that lasts, or the one of a later SetToken. Tokens given before stay good.
func (s *Server) SetLogin(who Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins.who, s.logins.on, s.token = who, true, ""
}

// FailLogin makes the next n logins meet the fault, or, with n below 0, all until FailLogin(0, nil).
func (s *Server) FailLogin(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins.fault, s.logins.faults = f, n
}

// Revoke makes all tokens that logins gave so far bad.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.logins.given)
}

// Tokens returns the tokens that logins gave and that were not revoked, the oldest end first.
func (s *Server) Tokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	given := s.logins.given
	return slices.SortedFunc(maps.Keys(given), func(a, b string) int { return given[a].Compare(given[b]) })
}

// Logins returns how many of the requests that Requests returns wanted to log in.
func (s *Server) Logins() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

// good tells whether a list may be read with the token. The mutex is held.
func (s *Server) good(token string) bool {
	switch {
	case token == "":
		return false
	case s.token != "":
		return token == s.token || time.Now().Before(s.logins.given[token])
	case s.logins.on:
		return time.Now().Before(s.logins.given[token])
	}
	return true
}

// logIn answers both forms of a login.
func (s *Server) logIn(w http.ResponseWriter, r *http.Request, body []byte) {
	s.loginAnswer(r, body)(w, r, &Answer{})
}

func (s *Server) loginAnswer(r *http.Request, body []byte) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.logins
	if l.fault != nil && l.faults != 0 {
		l.faults = max(l.faults-1, min(l.faults, -1))
		return l.fault
	}
	older := strings.HasPrefix(r.URL.Path, "/2/")
	var given struct{ Email, Username, Password string }
	err := json.Unmarshal(body, &given)
	name := given.Email
	if older {
		name = given.Username // as documented; that the e-mail address does as well is not relied on
	}
	switch {
	case err != nil || r.Header.Get("Content-Type") != "application/json":
		return Status(http.StatusBadRequest, `{"error":"Invalid body.","code":"INVALID_BODY"}`)
	case r.Header.Get("W-Key") != l.who.DeveloperKey || !l.on:
		return Status(http.StatusUnauthorized, `{"error":"Please include a valid developer `+"`key`"+` for any unauthenticated requests.","code":1110}`)
	case name != l.who.Email || given.Password != l.who.Password:
		return Status(http.StatusUnauthorized, fmt.Sprintf(`{"error":"%s and %s do not match.","code":1001}`, name, given.Password)) // ours must not repeat it
	case older:
		return Body(fmt.Sprintf(`{"login":{"id":4711,"email":%q,"token":%q},"users":[{"id":1000,"token":"of-old"}],"accounts":[{"id":10000}]}`, name, s.newToken()))
	}
	return Body(fmt.Sprintf(`{"person":{"id":4711,"email":%q},"token":%q}`, name, s.newToken()))
}

// newToken makes a token. The mutex is held.
func (s *Server) newToken() string {
	l := &s.logins
	l.count++
	life := l.who.Life
	if life == 0 {
		life = 7 * 24 * time.Hour
	}
	now := time.Now()
	token := fmt.Sprintf("%040x", l.count)
	if !l.who.Opaque {
		token = JWT(now, now.Add(life), l.count)
	}
	if l.given == nil {
		l.given = map[string]time.Time{}
	}
	l.given[token] = now.Add(life)
	return token
}

// JWT returns a token of that shape, with a signature that is none. A zero time is left out.
func JWT(issued, ends time.Time, n int) string {
	claims := `{"login":` + strconv.Itoa(n)
	for _, claim := range []struct {
		name string
		at   time.Time
	}{{"iat", issued}, {"exp", ends}} {
		if !claim.at.IsZero() {
			claims += fmt.Sprintf(`,%q:%s`, claim.name, strconv.FormatFloat(float64(claim.at.UnixMilli())/1000, 'f', -1, 64))
		}
	}
	encode := base64.RawURLEncoding.EncodeToString
	return strings.Join([]string{encode([]byte(`{"alg":"HS256","typ":"JWT"}`)), encode([]byte(claims + "}")), encode([]byte("unsigned"))}, ".")
}

// bodyOf reads what was sent, within limits.
func bodyOf(r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // what is cut does not parse
	return body
}
