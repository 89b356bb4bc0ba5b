package wiw

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// TokenSource returns the session token to send. It is asked before each request with an empty refused. When the API
// refuses a token, it is asked once more with that token: one that can get another returns it, one that cannot
// returns the same again.
type TokenSource func(ctx context.Context, refused string) (string, error)

// StaticToken returns a TokenSource that knows one token.
func StaticToken(token string) TokenSource {
	token = strings.TrimSpace(token)
	return func(context.Context, string) (string, error) { return token, nil }
}

// nearEnd is how long before its end a token should be replaced.
const nearEnd = 48 * time.Hour

// FreshToken returns a TokenSource that has its token from read, such as the content of a file. It reads again when the
// token was refused, for as long as there is no other, and when it ends within two days, so that it may be replaced
// under way. A token in hand that was not refused outlives an error of read.
func FreshToken(read func() (string, error)) TokenSource {
	var mu sync.Mutex // guards all below
	var token string
	var bad bool // it was refused
	return func(_ context.Context, refused string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		bad = bad || refused != "" && refused == token
		if ends, known := TokenEnd(token); token != "" && !bad && (!known || time.Until(ends) > nearEnd) {
			return token, nil
		}
		now, err := read()
		switch {
		case err == nil && now != token:
			token, bad = now, false
		case err != nil && bad:
			return "", fmt.Errorf("it was refused, and there is no other: %w", err)
		case err != nil && token == "":
			return "", err
		}
		return token, nil
	}
}

// TokenEnd returns when a token ends, if it is a JWT that says so. Nothing of it is verified: the API has the last word.
func TokenEnd(token string) (ends time.Time, known bool) {
	_, ends = claims(token)
	return ends, !ends.IsZero()
}

// claims returns what a JWT says of its time, without verifying it; what it does not say is zero.
func claims(token string) (issued, ends time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	said, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return
	}
	var c cursor
	c.enter(said, jsontext.KindBeginObject)
	for c.next() {
		switch string(c.name) {
		case "iat":
			issued = instant(c.value)
		case "exp":
			ends = instant(c.value)
		}
	}
	if c.leave() != nil {
		return time.Time{}, time.Time{}
	}
	return issued, ends
}

// instant reads seconds since 1970.
func instant(v jsontext.Value) time.Time {
	const year9999 = 253370764800
	seconds, ok := decimal(v)
	if !ok || seconds <= 0 || seconds > year9999 {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000))
}
