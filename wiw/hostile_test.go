package wiw_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// What means harm costs neither memory nor, beyond the timeout, time. A probe asks once.
func TestAHostileAnswerCostsLittle(t *testing.T) {
	bombed := func(status int, kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			z := gzip.NewWriter(w)
			zeros := make([]byte, 1<<20)
			for range 256 {
				if _, err := z.Write(zeros); err != nil {
					return
				}
			}
		}
	}
	ok := func(f wiwtest.Fault) http.Handler {
		fake := wiwtest.New(wiwtest.Options{})
		fake.Fail(-1, f)
		return fake
	}
	for _, c := range []struct {
		claim string
		api   http.Handler
		says  string
	}{
		{"a bomb", ok(wiwtest.Bomb(1 << 30)), "too long: over 268435456 bytes"},
		{"a bomb of lists in lists", ok(wiwtest.Endless(`{"users":`, `[`)), "not JSON"},
		{"a bomb of white space", bombed(200, "application/json"), "not JSON"},
		{"a bomb in an error", bombed(500, "application/json"), "500"},
		{"a bomb in a refusal", bombed(401, "text/html"), "401"},
		{"an endless text", ok(wiwtest.Endless(`{"shifts":[{"notes":"`, `x`)), "4 MiB"},
		{"an endless name", ok(wiwtest.Endless(`{"`, `x`)), "4 MiB"},
		{"an endless number", ok(wiwtest.Endless(`{"shifts":[`, `1`)), "4 MiB"},
		{"endless headers", raw(t, "HTTP/1.1 200 OK\r\n", strings.Repeat("X-Y: "+strings.Repeat("z", 1000)+"\r\n", 32)), "server response headers exceeded"},
		{"an endless header", raw(t, "HTTP/1.1 200 OK\r\nX: ", strings.Repeat("z", 1<<15)), "server response headers exceeded"},
		{"an endless first line", raw(t, "HTTP/1.1 200 ", strings.Repeat("z", 1<<15)), "server response headers exceeded"},
		{"headers that drip", raw(t, "HTTP/1.1 200 OK\r\n", ""), "no byte for 500ms"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			server := httptest.NewServer(c.api)
			defer server.Close()
			at := server.URL
			if r, ok := c.api.(rawServer); ok {
				at = r.url
			}
			var most uint64
			timeout := 30 * time.Second
			if strings.Contains(c.says, "500ms") {
				timeout = 500 * time.Millisecond
			}
			client, err := wiw.New(wiw.Config{URL: at, Token: wiw.StaticToken("t"), MaxBytes: 256 << 20, Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			before := inUse()
			done := make(chan struct{})
			var looking sync.WaitGroup
			looking.Go(func() {
				tick := time.NewTicker(5 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						most = max(most, inUse())
					case <-done:
						return
					}
				}
			})
			err = client.Probe(t.Context(), month, func(int64, uint64, []byte) error { return nil })
			close(done)
			looking.Wait()
			if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 500 {
				t.Errorf("got %.500v, want %q", err, c.says)
			}
			if most > before+48<<20 {
				t.Errorf("it cost %d MiB", (most-before)>>20)
			}
		})
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// rawServer answers with bytes of our own.
type rawServer struct {
	http.Handler
	url string
}

// raw starts a server that says head and then a piece over and over, or a letter now and then if there is none.
func raw(t *testing.T, head, piece string) rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			serving.Go(func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 1<<12)); err != nil {
					return
				}
				_, err := fmt.Fprint(c, head)
				drip := time.NewTicker(50 * time.Millisecond)
				defer drip.Stop()
				for err == nil {
					if piece == "" {
						<-drip.C
						_, err = fmt.Fprint(c, "X")
					} else {
						_, err = fmt.Fprint(c, piece)
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return rawServer{url: "http://" + l.Addr().String()}
}

// Who answers must have a certificate that is known here, for the name that was asked for, and speak a TLS that is
// not broken.
func TestOnlyAServerThatIsTrustedIsAsked(t *testing.T) {
	for _, c := range []struct {
		claim string
		tls   *tls.Config
		says  string
	}{
		{"a certificate that nobody knows", &tls.Config{}, "certificate signed by unknown authority"},
		{"an old TLS", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel() // the login is tried for some seconds
			asked := false
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
			server.TLS = c.tls
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			server.StartTLS()
			t.Cleanup(server.Close)
			client, err := wiw.New(wiw.Config{URL: server.URL, Token: wiw.StaticToken(token)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			err = client.Probe(t.Context(), month, func(int64, uint64, []byte) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.says) || asked {
				t.Errorf("%s: got %v, want %q; it was asked: %v", c.claim, err, c.says, asked)
			}
			login, err := wiw.NewLogin(wiw.LoginConfig{URL: server.URL, Credentials: func() (wiw.Credentials, error) {
				return wiw.Credentials{DeveloperKey: "k", Email: "e", Password: "p"}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer login.Close()
			if _, err := login.Token(t.Context(), ""); err == nil || !strings.Contains(err.Error(), c.says) || asked {
				t.Errorf("%s: the login got %v, want %q; it was asked: %v", c.claim, err, c.says, asked)
			}
		})
	}
}
