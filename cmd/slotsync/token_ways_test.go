package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tokenEndpoint hands out a-token, and counts who asks.
func tokenEndpoint(asked *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"a-token","expires_in":600}`)
	}
}

// What is not encrypted a proxy carries itself, and answers itself if it does not know us.
func TestAProxysRefusalIsNotTakenForOneOfTheServerBehindIt(t *testing.T) {
	t.Parallel()
	const idp, registry = "idp.example.test", "registry.example.test"
	var asked atomic.Int32
	far := httptest.NewServer(tokenEndpoint(&asked))
	t.Cleanup(far.Close)
	w := oauthWorld(t)
	p := startProxy(t, map[string]string{
		idp:      strings.TrimPrefix(far.URL, "http://"),
		registry: strings.TrimPrefix(w.Registry.URL(), "http://"),
	})
	at := strings.Replace(p.URL, "://", "://me:"+proxyPassword+"@", 1)
	wrong := strings.Replace(p.URL, "://", "://me:wrong@", 1)
	tokens := tokenSettings("http://"+idp+"/token", "")
	delete(tokens, "KAFKA_SASL_OAUTHBEARER_TLS_CA")
	schemas := with(tokenSettings(far.URL, ""), "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", "http://"+registry, "KAFKA_SASL_OAUTHBEARER_TLS_CA", "")
	for _, c := range []struct {
		claim    string
		settings env
		says     string // empty: the pass is good
	}{
		{"a token", with(tokens, "HTTP_PROXY", at), ""},
		{"a token, without the proxy's password", with(tokens, "HTTP_PROXY", p.URL), "carries nothing to " + idp + ": 407 Proxy Authentication Required; HTTP_PROXY names it and its user"},
		{"a token, with a wrong one", with(tokens, "http_proxy", wrong), "carries nothing to " + idp + ": 407"},
		{"schemas", with(schemas, "HTTP_PROXY", at), ""},
		{"schemas, without the proxy's password", with(schemas, "HTTP_PROXY", p.URL), "carries nothing to " + registry + ": 407"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			out, code := alone(t, in(w, c.settings), "--once")
			if (code == 0) != (c.says == "") || !strings.Contains(out, c.says) {
				t.Errorf("got exit %d, want %q in\n%s", code, c.says, out)
			}
			if told := lastError(out); code != 0 && (strings.Contains(told, "_CLIENT_ID") || strings.Contains(told, "SCHEMA_REGISTRY_USERNAME")) {
				t.Errorf("the proxy refuses, and a login behind it is blamed: %s", told)
			}
			for _, secret := range []string{proxyPassword, hush} {
				if strings.Contains(out, secret) {
					t.Errorf("a secret is in\n%s", out)
				}
			}
			t.Log(lastError(out))
		})
	}
	if n := asked.Load(); n == 0 {
		t.Error("the endpoint was never asked")
	}
}

// Proxies ask directories for passwords too, which lock accounts.
func TestAPasswordThatAProxyRefusesIsShownOnce(t *testing.T) {
	t.Parallel()
	const idp = "idp.example.test"
	w := oauthWorld(t)
	for proxyOf, tokens := range map[string]string{"HTTP_PROXY": "http://" + idp + "/token", "HTTPS_PROXY": "https://" + idp + "/token"} {
		t.Run(proxyOf, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, nil)
			r := launchIn(t, w, with(tokenSettings(tokens, newAuthority(t, "ours").path),
				proxyOf, strings.Replace(p.URL, "://", "://me:wrong@", 1), "SYNC_SLEEP_PERIOD_SECONDS", "0", "LOG_LEVEL", "debug"))
			r.until(t, bad, 4)
			r.signal(t, syscall.SIGTERM)
			if code := r.exit(t, time.Minute); code != 0 {
				t.Errorf("got exit %d", code)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.asked) != 1 {
				t.Errorf("in four passes the proxy was asked for %q, want once", p.asked)
			}
		})
	}
}

// There is no setting for it, so the message must not name one.
func TestATokenEndpointThatWantsACertificateOfOursIsToldOnce(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ours")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			var asked, shaken atomic.Int32
			far := httptest.NewUnstartedServer(tokenEndpoint(&asked))
			far.TLS = &tls.Config{
				Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "127.0.0.1")}, MaxVersion: version,
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(),
				GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
					shaken.Add(1)
					return nil, nil
				},
			}
			far.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
			w := oauthWorld(t)
			r := loop(t, in(w, with(tokenSettings(secured(t, far).URL, a.path), "SYNC_SLEEP_PERIOD_SECONDS", "0")))
			r.until(t, "the server wants a certificate of its clients, and slotsync has none for it", 1)
			r.until(t, bad, 4)
			r.halt(t)
			if n := shaken.Load(); n != 1 || asked.Load() != 0 {
				t.Errorf("knocked %d times and came in %d times in four passes, want once and never:\n%s", n, asked.Load(), r)
			}
			t.Log(lastError(r.String()))
		})
	}
}
