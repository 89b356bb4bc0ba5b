package cache_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/slotsync/slotsync/cache"
)

// With rediss:// a password is sent to nobody but who has a certificate that is known here.
func TestOnlyAServerThatIsTrustedGetsThePassword(t *testing.T) {
	known := httptest.NewTLSServer(nil) // for its certificate
	defer known.Close()
	roots := x509.NewCertPool()
	roots.AddCert(known.Certificate())
	for _, c := range []struct {
		claim  string
		host   string
		server *tls.Config
		client *tls.Config
		says   string // empty: it is trusted
	}{
		{"a certificate that nobody knows", "127.0.0.1", &tls.Config{}, nil, "certificate signed by unknown authority"},
		{"an old TLS", "127.0.0.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil, "protocol version"},
		{"a certificate for another name", "localhost", &tls.Config{}, &tls.Config{RootCAs: roots, ServerName: "redis.example.invalid"}, "certificate is valid for"},
		{"a certificate that is known", "127.0.0.1", &tls.Config{}, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, ""},
	} {
		c.server.Certificates = known.TLS.Certificates
		l, err := tls.Listen("tcp", "127.0.0.1:0", c.server)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards heard
		var heard strings.Builder
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return // the test has ended
				}
				piece := make([]byte, 1<<10)
				for n, err := 0, error(nil); err == nil; {
					n, err = conn.Read(piece) // the handshake, and what comes after it, if it does
					mu.Lock()
					heard.Write(piece[:n])
					mu.Unlock()
					_, _ = conn.Write([]byte("-ERR unknown command\r\n")) // so that it goes on
				}
				conn.Close()
			}
		})
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		config := cache.Config{URL: "rediss://:s3cr3t@" + net.JoinHostPort(c.host, port)}
		if c.client != nil {
			config.DialTLS = (&tls.Dialer{Config: c.client}).DialContext
		}
		client := dial(t, config)
		_, err = cache.New(client, "d").Acquire(t.Context(), worker, ttl)
		l.Close()
		serving.Wait()
		if trusted := strings.Contains(heard.String(), "s3cr3t"); trusted != (c.says == "") {
			t.Errorf("%s: it got the password: %v", c.claim, trusted)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.claim, err, c.says)
		}
	}
}
