package main

import (
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// proxy is an HTTP proxy that knows where names lead which nobody else knows.
type proxy struct {
	*httptest.Server
	leads map[string]string // host:port to an address

	mu    sync.Mutex     // guards all below
	asked []string       // for the way to these
	ways  sync.WaitGroup // that are open
}

const proxyPassword = "made-up-proxy-password"

func startProxy(t *testing.T, leads map[string]string) *proxy {
	t.Helper()
	p := &proxy{leads: leads}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.Close()
		p.ways.Wait()
	})
	return p
}

// ServeHTTP opens a way, or carries a request that needs no privacy.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	switch to, known := p.leads[r.Host]; {
	case r.Header.Get("Proxy-Authorization") != basic("me", proxyPassword):
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	case !known:
		w.WriteHeader(http.StatusForbidden)
	case r.Method != http.MethodConnect:
		r.Header.Del("Proxy-Authorization")
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Host = "", to
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		maps.Copy(w.Header(), res.Header)
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	default:
		p.open(w, to)
	}
}

func (p *proxy) open(w http.ResponseWriter, to string) {
	far, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		p.ways.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
}

func (p *proxy) saw(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.asked, what)
}

// alone runs the program as a process of its own, to its end.
func alone(t *testing.T, all env, args ...string) (output string, code int) {
	t.Helper()
	p := launch(t, all, args...)
	code = p.exit(t, time.Minute)
	return p.all(), code
}

// secureAPI is the world's API behind TLS.
func secureAPI(t *testing.T, w *world.World, p papers) *httptest.Server {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(w.API)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // that its certificate is refused is expected
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTheAPIAndTheRegistryAreReachedThroughAProxy(t *testing.T) {
	const api, registry = "api.example.test", "registry.example.test"
	a := newAuthority(t, "ours")
	w := start(t, world.Options{Shifts: 20, Partitions: 2})
	far := secureAPI(t, w, a.sign("api", time.Hour, api))
	gateway := front(t, w.Registry.URL(), a.sign("registry", time.Hour, registry), nil, "")
	p := startProxy(t, map[string]string{
		api + ":443": far.Listener.Addr().String(), registry + ":443": gateway.Listener.Addr().String(),
		api: strings.TrimPrefix(w.APIURL, "http://"),
	})
	at := strings.Replace(p.URL, "://", "://me:"+proxyPassword+"@", 1)
	through := env{
		"WIW_URL": "https://" + api, "SSL_CERT_FILE": a.path, "HTTPS_PROXY": at,
		"SCHEMA_REGISTRY_URL": "https://" + registry, "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "", "SCHEMA_REGISTRY_TLS_CA": a.path,
		"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": hush,
	}
	for _, c := range []struct {
		claim    string
		settings env
		code     int
		says     string // in the log
		saw      string // the proxy
	}{
		{"both", through, 0, "pass done", "CONNECT " + registry + ":443"},
		{"by the other spelling", with(through, "HTTPS_PROXY", "", "https_proxy", at), 0, "pass done", "CONNECT " + api + ":443"},
		{"in the clear", with(through, "WIW_URL", "http://"+api, "HTTP_PROXY", at), 0, "pass done", "GET " + api},
		{"without its password", with(through, "HTTPS_PROXY", p.URL), 1, "opens no way to " + registry + ":443: 407 Proxy Authentication Required; HTTPS_PROXY names it", ""},
		{"in the clear, without its password", with(through, "WIW_URL", "http://"+api, "HTTP_PROXY", p.URL), 1, "HTTP_PROXY has to hold the user and password of the proxy", ""},
		{"where it does not let us", with(through, "WIW_URL", "https://elsewhere.example.test"), 1, "opens no way to elsewhere.example.test:443: 403 Forbidden", "CONNECT elsewhere.example.test:443"},
		{"without its authority", with(through, "SSL_CERT_FILE", ""), 1, "SSL_CERT_FILE has to name the file with its certificate", ""},
		{"without the registry's", with(through, "SCHEMA_REGISTRY_TLS_CA", ""), 0, "pass done", ""}, // SSL_CERT_FILE is for all
		{"a registry where it does not let us", with(through, "SCHEMA_REGISTRY_URL", "https://nowhere.example.test"), 1, "opens no way to nowhere.example.test:443: 403 Forbidden", ""},
		{"a URL that is none", with(through, "HTTPS_PROXY", "http://me:"+proxyPassword+" x@proxy"), 2, "HTTPS_PROXY must be a proxy like", ""},
	} {
		t.Run(c.claim, func(t *testing.T) {
			out, code := alone(t, in(w, c.settings), "--once")
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("got exit %d, want %d and %q in\n%s", code, c.code, c.says, out)
			}
			if c.code == 1 {
				t.Log(lastError(out))
			}
			if c.saw != "" && !p.saw(c.saw) {
				t.Errorf("the proxy was asked for %q, not for %q", p.asked, c.saw)
			}
			for _, secret := range []string{proxyPassword, w.Env()["WIW_KEY"], hush} {
				if strings.Contains(out, secret) {
					t.Errorf("a secret is in\n%s", out)
				}
			}
		})
	}
	t.Run("that is away", func(t *testing.T) {
		out, code := alone(t, in(w, with(through, "HTTPS_PROXY", "http://"+freeAddr(t))), "check")
		if flat := strings.Join(strings.Fields(out), " "); code != 1 || strings.Count(flat, "is HTTPS_PROXY (or HTTP_PROXY) right, and the proxy up?") != 2 {
			t.Errorf("got exit %d\n%s", code, out)
		}
	})
	t.Run("that is to be passed by", func(t *testing.T) {
		p.mu.Lock()
		p.asked = nil
		p.mu.Unlock()
		_, code := alone(t, in(w, with(through, "NO_PROXY", ".example.test")), "check")
		if code != 1 || len(p.asked) > 0 { // nobody else knows the names
			t.Errorf("got exit %d, and the proxy was asked for %q", code, p.asked)
		}
	})
}

// The endpoint's authority counts behind a proxy too, and there it says nothing about the proxy's own certificate.
func TestTokensAreFetchedThroughAProxy(t *testing.T) {
	t.Parallel()
	const host = "idp.example.test"
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	w, idp := tokenWorld(t, pairFor(t, ours, tomorrow(), host))
	leads := map[string]string{host + ":443": idp.Listener.Addr().String()}
	p := startProxy(t, leads)
	secure := httptest.NewUnstartedServer(p)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pairFor(t, theirs, tomorrow(), "127.0.0.1")}}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	secure.StartTLS()
	t.Cleanup(func() {
		secure.Close()
		p.ways.Wait()
	})
	at := func(p *httptest.Server) string { return strings.Replace(p.URL, "://", "://me:"+proxyPassword+"@", 1) }
	through := with(tokenSettings("https://"+host+"/token", ours.path), "HTTPS_PROXY", at(p.Server))
	for _, c := range []struct {
		claim    string
		settings env
		says     string // in the log; empty: the pass is good
	}{
		{"its authority", through, ""},
		{"an unknown authority", with(through, "KAFKA_SASL_OAUTHBEARER_TLS_CA", ""), "give that authority's certificate in KAFKA_SASL_OAUTHBEARER_TLS_CA"},
		{"another authority", with(through, "KAFKA_SASL_OAUTHBEARER_TLS_CA", theirs.path), "not signed by an authority in KAFKA_SASL_OAUTHBEARER_TLS_CA"},
		{"without the proxy's password", with(through, "HTTPS_PROXY", p.URL), "opens no way to " + host + ":443: 407 Proxy Authentication Required; HTTPS_PROXY names it"},
		{"a proxy behind TLS", with(through, "HTTPS_PROXY", at(secure), "SSL_CERT_FILE", theirs.path), ""},
		{"a proxy behind TLS that the endpoint's authority has signed", with(through, "HTTPS_PROXY", at(secure),
			"KAFKA_SASL_OAUTHBEARER_TLS_CA", theirs.path), "SSL_CERT_FILE has to name the file with its certificate"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			out, code := alone(t, in(w, c.settings), "--once")
			if (code == 0) != (c.says == "") || !strings.Contains(out, c.says) {
				t.Errorf("got exit %d, want %q in\n%s", code, c.says, out)
			}
			if code != 0 {
				t.Log(lastError(out))
			}
			for _, secret := range []string{proxyPassword, hush} {
				if strings.Contains(out, secret) {
					t.Errorf("a secret is in\n%s", out)
				}
			}
		})
	}
	if !p.saw("CONNECT " + host + ":443") {
		t.Errorf("the proxy was asked for %q", p.asked)
	}
}
