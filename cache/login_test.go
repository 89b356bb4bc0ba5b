package cache_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/slotsync/slotsync/cache"
)

// The password in the file is for whom the file names by now.
func TestAPasswordIsReadAnewForTheSameServerAndDatabaseOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		claim string
		now   func(address string) string // the URL when the first password is refused
		says  string                      // empty: the new one is shown
	}{
		{"another password", func(at string) string { return "redis://:then@" + at + "/1" }, ""},
		{"another server", func(string) string { return "redis://:then@127.0.0.1:1/1" }, "REDIS_HOST names another server or database by now"},
		{"another database", func(at string) string { return "redis://:then@" + at + "/2" }, "REDIS_HOST names another server or database by now"},
		{"TLS", func(at string) string { return "rediss://:then@" + at + "/1" }, "REDIS_HOST names another server or database by now"},
		{"no URL", func(string) string { return "redis://:th en@" }, "REDIS_HOST cannot be read"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			m := miniredis.RunT(t)
			m.RequireAuth("then")
			client, err := cache.Dial(cache.Config{
				URL:   "redis://:first@" + m.Addr() + "/1",
				Fresh: func() (string, error) { return c.now(m.Addr()), nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			err = client.Set(t.Context(), "x", "y", 0).Err()
			if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "th en")) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if m.DB(1).Exists("x") != (c.says == "") {
				t.Error("it was written where the password is not for, or not at all")
			}
		})
	}
}

// Whoever trusts anybody has no authorities to look at.
func TestSkipVerifyGoesPastTheDialerThatVerifies(t *testing.T) {
	t.Parallel()
	nobody := httptest.NewTLSServer(nil) // with a certificate that is not known here
	defer nobody.Close()
	verifies := errors.New("asked the dialer that verifies")
	for skip, want := range map[string]bool{"": true, "?skip_verify=false": true, "?skip_verify=true": false} {
		client, err := cache.Dial(cache.Config{
			URL:     "rediss://" + nobody.Listener.Addr().String() + skip,
			DialTLS: func(context.Context, string, string) (net.Conn, error) { return nil, verifies },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Get(t.Context(), "x").Err(); errors.Is(err, verifies) != want {
			t.Errorf("%q: got %v, want that dialer asked: %t", skip, err, want)
		}
	}
}
