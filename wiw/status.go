package wiw

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// StatusError is an answer of the API that is not a list of shifts.
type StatusError struct {
	Status  int           // of HTTP; 200 if the error stands in an answer that claims to be good
	Code    string        // the API's own code, such as "1000" or "UNAUTHORIZED"; may be empty
	Message string        // the API's words, cut, without control characters, addresses and secrets; may be empty
	Wait    time.Duration // how long the API asks to wait; 0: it does not say
	Hint    string        // what to do about it; may be empty
}

// Error returns all that is known, in one line.
func (e *StatusError) Error() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(e.Status))
	if text := http.StatusText(e.Status); text != "" {
		b.WriteString(" " + text)
	}
	if e.Code != "" {
		b.WriteString(" (code " + e.Code + ")")
	}
	if e.Message != "" {
		b.WriteString(": " + strings.TrimRight(e.Message, "."))
	}
	if e.Wait > 0 {
		fmt.Fprintf(&b, ", asks to wait %s", e.Wait.Round(time.Second))
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// hints say what to do about a refusal.
type hints struct {
	unauthorized string
	forbidden    string
	address      string // what the address must be, when it seems to be another
}

// refusal reads an answer whose status says that it is not what was asked for.
func refusal(res *http.Response, body io.Reader, hint hints, secrets ...string) *failure {
	e := &StatusError{Status: res.StatusCode, Wait: retryAfter(res.Header)}
	if body, err := decompressed(res, body); err == nil {
		// What is broken here, or longer than any error, leaves the status to speak for itself.
		text, _ := io.ReadAll(io.LimitReader(body, 64<<10))
		e.Code, e.Message = readError(text)
		e.clean(secrets...)
	}
	f := &failure{verdict: final, wait: e.Wait, err: e}
	switch s := res.StatusCode; {
	case s == http.StatusUnauthorized:
		f.verdict = refused
		e.Hint = hint.unauthorized
	case s == http.StatusForbidden && e.AboutRights():
		e.Hint = hint.forbidden
	case s == http.StatusForbidden:
		// The API's way to say "too many requests".
		f.verdict = away
		e.Hint = "taken as a request to slow down"
	case s == http.StatusTooManyRequests:
		f.verdict = busy
	case s == http.StatusProxyAuthRequired:
		e.Hint = "HTTP_PROXY has to hold the user and password of the proxy"
	case s >= 500 || s == http.StatusTeapot || s == http.StatusRequestTimeout || s < 300:
		f.verdict = again
	case s < 400:
		e.Hint = "redirects are not followed; " + hint.address
		if to, err := url.Parse(res.Header.Get("Location")); err == nil && to.Host != "" {
			e.Hint += ", not what sends on to " + clean(to.Host, secrets...)
		}
	}
	return f
}

// AboutRights tells a lack of rights from throttling, and from a bad token, for which the API has the same statuses.
func (e *StatusError) AboutRights() bool {
	text := strings.ToLower(e.Message)
	return e.Code == "3005" || e.Code == "UNAUTHORIZED" ||
		strings.Contains(text, "permission") || strings.Contains(text, "do not have access")
}

func (e *StatusError) clean(secrets ...string) {
	e.Code, e.Message = clean(e.Code, secrets...), clean(e.Message, secrets...)
}

const redacted = "[redacted]"

// clean cuts text to 200 bytes and takes out what must not be logged.
func clean(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, redacted)
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
	words := strings.Fields(text)
	for i, word := range words {
		if strings.Contains(word, "@") {
			words[i] = redacted
		}
	}
	text = strings.Join(words, " ")
	const most = 200
	if len(text) <= most {
		return text
	}
	end := most
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// readError finds the API's code and words in the body of an error. A body that is something else has none.
func readError(body []byte) (code, message string) {
	var top cursor
	var inner string
	top.enter(body, '{')
	for top.next() {
		switch string(top.name) {
		case "error":
			inner, message = errorText(top.value)
		case "code":
			code = text(top.value)
		}
	}
	if top.leave() != nil {
		return "", ""
	}
	return cmp.Or(code, inner), message
}

// errorText reads the value of "error": its words, or an object with code and title.
func errorText(v jsontext.Value) (code, message string) {
	if v[0] != '{' {
		return "", text(v)
	}
	var in cursor
	in.enter(v, '{')
	for in.next() {
		switch string(in.name) {
		case "code":
			code = text(in.value)
		case "title":
			message = text(in.value)
		}
	}
	return code, message
}

// truthy says whether the value of "error" means that there is one.
func truthy(v jsontext.Value) bool {
	switch v[0] {
	case 'n', 'f':
		return false
	case '"':
		return len(v) > len(`""`)
	case 't', '{', '[':
		return true
	}
	f, ok := decimal(v)
	return !ok || f != 0
}

// retryAfter reads the header of that name, which is seconds or a date by the server's clock.
func retryAfter(header http.Header) time.Duration {
	s := header.Get("Retry-After")
	if s == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(seconds) {
		const most = 24 * 60 * 60 // more is never waited, and would not fit a Duration
		return time.Duration(min(max(seconds, 0), most) * float64(time.Second))
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(at.Sub(now), 0)
}
