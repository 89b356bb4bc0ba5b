package wiw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxLoginAnswer is for a person with more workplaces than anybody has.
	maxLoginAnswer = 1 << 20
	// maxToken is what servers take as one header, with room for the others.
	maxToken = 6 << 10
)

// attempt logs in once.
func (l *Login) attempt(ctx context.Context, who Credentials) (string, *failure) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.timeout, fmt.Errorf("no whole answer within %s", l.timeout))
	defer cancel()
	req, err := l.request(ctx, who)
	if err != nil {
		return "", &failure{verdict: final, err: errors.New("form the request: invalid header or address")}
	}
	res, err := l.http.Do(req)
	if err != nil {
		return "", &failure{verdict: again, err: whereTo(reason(ctx, withoutAddress(err)), "WIW_LOGIN_URL")}
	}
	defer res.Body.Close()
	secrets := []string{who.Password, who.DeveloperKey, who.Email}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		f := refusal(res, res.Body, hints{
			unauthorized: "are WIW_EMAIL and WIW_PASSWORD right?",
			forbidden:    "may this login use the API? Its plan must include it, and WIW_DEVELOPER_KEY be its account's",
			address:      addressHint,
		}, secrets...)
		return "", loginRefusal(f)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxLoginAnswer+1))
	switch {
	case err != nil:
		return "", &failure{verdict: again, err: fmt.Errorf("answer: after %d bytes: %w", len(body), reason(ctx, noEOF(err)))}
	case len(body) > maxLoginAnswer:
		return "", bad("answer: %w: over %d bytes; %s", errTooLong, maxLoginAnswer, addressHint)
	case mediaType(res) == "text/html":
		return "", &failure{verdict: again, err: errors.New("200 with text/html instead of JSON; " + addressHint)}
	}
	token, f := tokenIn(body)
	if e, told := statusOf(f); told {
		e.clean(secrets...)
		return "", loginRefusal(f)
	}
	return token, f
}

const addressHint = "WIW_LOGIN_URL must be the login itself"

// reason prefers why the context ended to an error that only says that it did.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func statusOf(f *failure) (e *StatusError, told bool) {
	return e, f != nil && errors.As(f.err, &e)
}

// loginRefusal adds to a refusal what is known of logins only.
func loginRefusal(f *failure) *failure {
	e, told := statusOf(f)
	switch {
	case !told:
	case e.Code == "1110": // with which status is not known
		f.verdict = refused
		e.Hint = "is WIW_DEVELOPER_KEY the developer key (not a session token)?"
	case f.verdict == final && e.Hint == "" && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusGone):
		e.Hint = addressHint
	case f.verdict == final && e.Hint == "":
		e.Hint = "are WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD right, and is WIW_LOGIN_URL?"
	}
	return f
}

func (l *Login) request(ctx context.Context, who Credentials) (*http.Request, error) {
	fields := map[string]string{"email": who.Email, "password": who.Password}
	if l.older() {
		fields["username"] = who.Email // its documented name; email is what it has been seen to take as well
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "slotsync")
	req.Header.Set("W-Key", who.DeveloperKey)
	return req, nil
}

// tokenIn finds the session token in the answer of a login, which has had it in several places. That inside "login" is
// the one to use where there are several. Those of users, inside "users", are not.
func tokenIn(body []byte) (string, *failure) {
	var found [4]string // the best place first
	var refusal *StatusError
	var code string
	var top cursor
	top.enter(body, jsontext.KindBeginObject)
	for top.next() {
		switch string(top.name) {
		case "login":
			found[0] = tokenInside(top.value)
		case "token":
			found[1] = text(top.value)
		case "person":
			found[2] = tokenInside(top.value)
		case "access_token":
			found[3] = text(top.value)
		case "code":
			code = text(top.value)
		case "error":
			if truthy(top.value) {
				refusal = &StatusError{Status: http.StatusOK}
				refusal.Code, refusal.Message = errorText(top.value)
			}
		}
	}
	if err := top.leave(); err != nil {
		return "", &failure{verdict: again, err: fmt.Errorf("answer: %w", err)}
	}
	if refusal != nil {
		if refusal.Code == "" {
			refusal.Code = code
		}
		return "", &failure{verdict: final, err: refusal}
	}
	for _, token := range found {
		switch {
		case token == "":
		case len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return "", bad("answer: its token cannot be sent")
		default:
			return token, nil
		}
	}
	return "", bad("answer: no token in it; %s", addressHint)
}

// tokenInside returns the member "token" of an object.
func tokenInside(object jsontext.Value) (token string) {
	if object[0] != '{' {
		return ""
	}
	var in cursor
	in.enter(object, jsontext.KindBeginObject)
	for in.next() {
		if string(in.name) == "token" {
			token = text(in.value)
		}
	}
	return token
}
