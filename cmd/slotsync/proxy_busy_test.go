package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// A proxy whose password is wrong may lock the account, one that is busy may not be so in a moment.
func TestTheAPIIsAskedForAgainThroughAProxyThatIsBusyAndNotThroughOneThatRefuses(t *testing.T) {
	t.Parallel()
	const api = "api.example.test"
	a := newAuthority(t, "ours")
	w := start(t, world.Options{Shifts: 20, Partitions: 2})
	far := secureAPI(t, w, a.sign("api", time.Hour, api))
	for _, c := range []struct {
		claim  string
		answer int // to the first question
		code   int
		asked  int32
	}{
		{"busy", http.StatusServiceUnavailable, 0, 2},
		{"refuses", http.StatusProxyAuthRequired, 1, 1},
	} {
		t.Run(c.claim, func(t *testing.T) {
			p := startProxy(t, map[string]string{api + ":443": far.Listener.Addr().String()})
			var asked atomic.Int32
			first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					w.WriteHeader(c.answer)
					return
				}
				p.ServeHTTP(w, r)
			}))
			t.Cleanup(first.Close)
			out, code := alone(t, in(w, env{
				"WIW_URL": "https://" + api, "SSL_CERT_FILE": a.path, "SYNC_DELETES": "off",
				"HTTPS_PROXY": strings.Replace(first.URL, "://", "://me:"+proxyPassword+"@", 1),
			}), "--once")
			if code != c.code || asked.Load() != c.asked {
				t.Errorf("got exit %d, and the proxy asked %d times, want %d and %d\n%s", code, asked.Load(), c.code, c.asked, out)
			}
		})
	}
}
