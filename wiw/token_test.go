package wiw_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

func TestATokenSaysWhenItEnds(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	const at = 1798761600
	for _, tt := range []struct {
		claim, token string
		want         int64 // 0: it does not say
	}{
		{"a number", jwt(`{"iat":1798156800,"exp":1798761600}`), at},
		{"with a fraction", jwt(`{"exp":1798761600.75}`), at},
		{"as text", jwt(`{"exp":"1798761600"}`), at},
		{"padded", "e30." + base64.URLEncoding.EncodeToString([]byte(`{"exp":1798761600}`)) + ".sig", at},
		{"letters of base64url", jwt(`{"name":"???>>>ÿ","exp":1798761600}`), at},
		{"not there", jwt(`{"iat":1798156800}`), 0},
		{"inside something else", jwt(`{"user":{"exp":1798761600}}`), 0},
		{"null", jwt(`{"exp":null}`), 0},
		{"zero", jwt(`{"exp":0}`), 0},
		{"beyond all dates", jwt(`{"exp":1e300}`), 0},
		{"not a number", jwt(`{"exp":{}}`), 0},
		{"broken", jwt(`{"exp":1798761600`), 0},
		{"not an object", jwt(`[1798761600]`), 0},
		{"empty", jwt(``), 0},
		{"not base64", "e30.{}.sig", 0},
		{"opaque", "0123456789abcdef0123456789abcdef01234567", 0},
		{"two parts", "a.b", 0},
		{"none", "", 0},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			ends, known := wiw.TokenEnd(tt.token)
			if known != (tt.want != 0) || known && ends.Unix() != tt.want {
				t.Errorf("got %s, %v, want %d", ends, known, tt.want)
			}
		})
	}
}

// A token that somebody writes into a file, over the one before.
func TestAReplacedTokenIsUsed(t *testing.T) {
	gone := errors.New("the file is gone")
	for _, tt := range []struct {
		claim     string
		life      time.Duration // of the first token; 0: it does not say
		age       time.Duration // when the second one is written
		revoked   bool          // the API takes the second one only
		unchanged bool          // nothing is written after all
		err       error         // of reading
		second    bool          // the second one is what Token returns
	}{
		{claim: "not while the first one is good", life: 7 * 24 * time.Hour, age: time.Hour},
		{claim: "not while nobody knows better", age: 30 * 24 * time.Hour},
		{claim: "before the end", life: 7 * 24 * time.Hour, age: 6 * 24 * time.Hour, second: true},
		{claim: "an unreadable file before the end does no harm", life: 7 * 24 * time.Hour, age: 6 * 24 * time.Hour, err: gone},
		{claim: "when it was refused", life: 7 * 24 * time.Hour, age: time.Hour, revoked: true, second: true},
		{claim: "when it was refused, and says nothing of its end", age: time.Hour, revoked: true, second: true},
		{claim: "an unreadable file after a refusal is told", age: time.Hour, revoked: true, err: gone},
		{claim: "the same again is refused again", age: time.Hour, revoked: true, unchanged: true},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := "first", "second"
				if tt.life != 0 {
					first = wiwtest.JWT(time.Now(), time.Now().Add(tt.life), 1)
				}
				content, failing := first, error(nil)
				fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
				source := wiw.FreshToken(func() (string, error) { return content, failing })
				client := newClient(t, fake, wiw.Config{Token: source})
				if _, err := readAll(client, month); err != nil {
					t.Fatal(err)
				}
				<-time.After(tt.age)
				failing = tt.err
				if !tt.unchanged {
					content = second
				}
				if tt.revoked {
					fake.SetToken(second)
				}
				_, err := readAll(client, month)
				requests := fake.Requests()
				got := requests[len(requests)-1].Header.Get("W-Token")
				want := map[bool]string{true: second, false: first}[tt.second]
				if got != want || (err != nil) != (tt.revoked && !tt.second) || tt.revoked && tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}

				// Whatever stood in the way, the next pass finds what is written now.
				content, failing = second, nil
				if _, err := readAll(client, month); err != nil && tt.revoked {
					t.Errorf("got %v once the file is good", err)
				}
			})
		})
	}
}

func TestAnUnreadableFirstTokenIsAnError(t *testing.T) {
	gone := errors.New("the file is gone")
	_, err := wiw.FreshToken(func() (string, error) { return "", gone })(t.Context(), "")
	if !errors.Is(err, gone) || strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}
