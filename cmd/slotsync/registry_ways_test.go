package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// gateway is a server with TLS before a registry: it may want a certificate and a login, and has the registry below a path.
type gateway struct {
	*httptest.Server
	shows atomic.Pointer[tls.Config]
}

// show makes the gateway speak TLS with these papers, and, if there are clients, with theirs.
func (g *gateway) show(t *testing.T, p papers, clients *x509.CertPool) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	g.shows.Store(config)
}

func front(t *testing.T, registry string, p papers, clients *x509.CertPool, below string) *gateway {
	t.Helper()
	at, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{}
	g.show(t, p, clients)
	pass := http.StripPrefix(below, httputil.NewSingleHostReverseProxy(at))
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch shown := r.Header.Get("Authorization"); {
		case !strings.HasPrefix(r.URL.Path, below+"/"):
			http.NotFound(w, r)
		case shown != basic("me", hush) && shown != "Bearer "+hush:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error_code":401,"message":"Unauthorized"}`))
		default:
			r.Header.Del("Authorization")
			pass.ServeHTTP(w, r)
		}
	}))
	g.Config.ErrorLog = log.New(io.Discard, "", 0) // that handshakes go wrong is expected
	g.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.shows.Load(), nil }}
	g.StartTLS()
	t.Cleanup(g.Close)
	return g
}

// pool holds the authority's certificate.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func TestTheRegistryIsReachedInEachWay(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	server, expired := ours.sign("server", time.Hour, "127.0.0.1"), ours.sign("expired", -time.Hour, "127.0.0.1")
	client, foreign := ours.sign("client", time.Hour), others.sign("foreign", time.Hour)
	test := func(t *testing.T, w *world.World, registry string) {
		const below = "/gateway/registry"
		open := front(t, registry, server, nil, below)
		strict := front(t, registry, server, ours.pool(), below)
		stale := front(t, registry, expired, nil, below)
		bare := httptest.NewServer(nil)
		t.Cleanup(bare.Close)
		user := env{"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": hush, "SCHEMA_REGISTRY_TLS_CA": ours.path}
		token := env{"SCHEMA_REGISTRY_TOKEN": hush, "SCHEMA_REGISTRY_TLS_CA": ours.path}
		mutual := with(token, "SCHEMA_REGISTRY_TLS_CERT", client.cert, "SCHEMA_REGISTRY_TLS_KEY", client.key)
		at := func(base env, address string, more ...string) env {
			return with(with(base, "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", address), more...)
		}
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(open.URL, "https://"))
		const addressed = "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"
		ways(t, w, "Registry", []attempt{
			{"user", "right", at(user, open.URL+below), nil},
			{"user", "in the URL", at(env{"SCHEMA_REGISTRY_TLS_CA": ours.path}, strings.Replace(open.URL, "://", "://me:"+hush+"@", 1)+below), nil},
			{"user", "a slash at the end", at(user, open.URL+below+"/"), nil},
			{"user", "wrong password", at(user, open.URL+below, "SCHEMA_REGISTRY_PASSWORD", wrongHush), []string{"SCHEMA_REGISTRY_PASSWORD", "401 Unauthorized"}},
			{"user", "none", at(env{"SCHEMA_REGISTRY_TLS_CA": ours.path}, open.URL+below), []string{"SCHEMA_REGISTRY_USERNAME", "401 Unauthorized"}},
			{"user", "without the path", at(user, open.URL), []string{addressed, "404 Not Found", "check the path"}},
			{"token", "right", at(token, open.URL+below), nil},
			{"token", "wrong", at(token, open.URL+below, "SCHEMA_REGISTRY_TOKEN", wrongHush), []string{"SCHEMA_REGISTRY_TOKEN", "401 Unauthorized"}},
			{"TLS", "unknown authority", at(user, open.URL+below, "SCHEMA_REGISTRY_TLS_CA", ""), []string{"SCHEMA_REGISTRY_TLS_CA", "not known here"}},
			{"TLS", "another authority", at(user, open.URL+below, "SCHEMA_REGISTRY_TLS_CA", others.path), []string{"SCHEMA_REGISTRY_TLS_CA", "not signed by"}},
			{"TLS", "another name", at(user, "https://localhost:"+port+below), []string{"is for 127.0.0.1, not for localhost"}},
			{"TLS", "expired", at(user, stale.URL+below), []string{"expired"}},
			{"TLS", "to a port without", at(user, strings.Replace(bare.URL, "http://", "https://", 1)), []string{addressed, "does not speak TLS"}},
			{"TLS", "none to a port with", at(env{"SCHEMA_REGISTRY_TOKEN": hush}, strings.Replace(open.URL, "https://", "http://", 1)+below), []string{addressed, "begin with https://"}},
			{"TLS", "nobody there", at(user, "https://"+freeAddr(t)), []string{addressed, "connection refused"}},
			{"TLS, both sides", "right", at(mutual, strict.URL+below), nil},
			{"TLS, both sides", "no certificate", at(token, strict.URL+below), []string{"SCHEMA_REGISTRY_TLS_CERT", "wants a certificate"}},
			{"TLS, both sides", "another authority's", at(mutual, strict.URL+below, "SCHEMA_REGISTRY_TLS_CERT", foreign.cert, "SCHEMA_REGISTRY_TLS_KEY", foreign.key), []string{"SCHEMA_REGISTRY_TLS_CERT", "does not accept"}},
		})
	}
	t.Run("stand-in", func(t *testing.T) {
		w := start(t, world.Options{Shifts: 10, Partitions: 2})
		test(t, w, w.Registry.URL())
	})
	t.Run("real", func(t *testing.T) {
		s := servers{registry: fromStack(t, "SLOTSYNC_TEST_REGISTRY")}
		s.forget(t, world.Topic+"-key", world.Topic+"-value")
		test(t, start(t, world.Options{Shifts: 10, Partitions: 2}), s.registry)
	})
}

// What a registry, or something in its place, may answer is told in bounded time, and no answer ends the program.
func TestAStrangeAnswerOfTheRegistryIsTold(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		claim   string
		handler http.HandlerFunc
		says    string // in the log and in a check
	}{
		{"null", answer(200, "null"), "is this a schema registry?"},
		{"{}", answer(200, "{}"), "is this a schema registry?"},
		{"[]", answer(200, "[]"), "is this a schema registry?"},
		{"HTML", answer(200, "<html>hello</html>"), "is this a schema registry?"},
		{"403", answer(403, `{"error_code":40301,"message":"not yours"}`), "not yours"},
		{"500", answer(500, `{"error_code":50001,"message":"store is away"}`), "store is away"},
		{"500 with a page", answer(500, "<html>secret</html>"), "500 Internal Server Error"},
		{"a hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "context deadline exceeded; is AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL (or SCHEMA_REGISTRY_URL) right"},
		{"an endless body", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"schema":"`)
			for block := strings.Repeat("x", 1<<16); ; {
				if _, err := io.WriteString(w, block); err != nil {
					return
				}
			}
		}, "larger than 16 MiB"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			w := start(t, world.Options{Shifts: 3, Partitions: 1})
			s := httptest.NewServer(c.handler)
			t.Cleanup(s.Close)
			settings := env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": s.URL}
			began := time.Now()
			_, code, log := once(t, w, settings)
			told := lastError(log)
			t.Logf("after %s: %s", time.Since(began).Round(10*time.Millisecond), told)
			if code != 1 || time.Since(began) > quick || !strings.Contains(told, c.says) || strings.Contains(log, "panic") {
				t.Errorf("got exit %d after %s, want 1 and %q\n%s", code, time.Since(began), c.says, log)
			}
			text, _, code := call(t, w, settings, "check")
			advice := strings.Join(strings.Fields(adviceOf(text, "Registry")), " ")
			t.Logf("check:\n%s", advice)
			if code != 1 || !strings.Contains(advice, "FAIL") || !strings.Contains(strings.ReplaceAll(advice, "SCHEMAREGISTRY", "SCHEMA_REGISTRY"), "SCHEMA_REGISTRY_") {
				t.Errorf("check: got exit %d\n%s", code, advice)
			}
		})
	}
}

func TestARefusedSchemaIsToldWithItsSubject(t *testing.T) {
	for _, c := range []struct {
		claim, body string
		status      int
		says        string
	}{
		{"incompatible", `{"error_code":409,"message":"Schema being registered is incompatible"}`, 409, "409 Conflict: Schema being registered is incompatible"},
		{"invalid", `{"error_code":42201,"message":"Invalid schema"}`, 422, "(42201): Invalid schema"},
		{"read only", `{"error_code":40301,"message":"no right to write"}`, 403, "(40301): no right to write"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w := start(t, world.Options{Shifts: 3, Partitions: 1})
			w.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/versions") {
					return false
				}
				rw.WriteHeader(c.status)
				_, _ = io.WriteString(rw, c.body)
				return true
			})
			_, code, log := once(t, w, nil)
			told := lastError(log)
			t.Log(told)
			if code != 1 || !strings.Contains(told, "shifts-key") || !strings.Contains(told, c.says) || !strings.Contains(told, "REGISTER_SCHEMAS") {
				t.Errorf("got exit %d, %q, want 1, the subject that has no schema, %q and the setting", code, told, c.says)
			}
		})
	}
}

func TestARefusedLoginNamesTheSettingsThatItIsFrom(t *testing.T) {
	w := start(t, world.Options{Shifts: 3, Partitions: 2})
	const (
		address, both = "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL", "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"
		token         = "SCHEMA_REGISTRY_TOKEN"
	)
	var answer atomic.Int32
	w.Registry.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(int(answer.Load()))
		return true
	})
	inside := strings.Replace(w.Registry.URL(), "://", "://me:"+wrongHush+"@", 1)
	for _, c := range []struct {
		claim  string
		env    env
		says   string // with a 401, beside its own words, and with a 403
		never  []string
		advice string // of check
	}{
		{"in the URL", env{address: inside}, "the user and password in " + address, []string{"SCHEMA_REGISTRY_USERNAME", token}, "set the user and password in " + address + " to"},
		{"in the URL by its other name", env{address: "", "SCHEMA_REGISTRY_URL": inside}, "the user and password in SCHEMA_REGISTRY_URL", []string{address, token}, "set the user and password in SCHEMA_REGISTRY_URL to"},
		{"in a file with the URL", env{address: "", address + "_FILE": file(t, inside)}, "the user and password in " + address + "_FILE", []string{token}, address + "_FILE"},
		{"a user", env{"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": wrongHush}, both, []string{token, address}, "set " + both + " to"},
		{"a token in a file", env{token + "_FILE": file(t, wrongHush)}, token + "_FILE", []string{"SCHEMA_REGISTRY_USERNAME", address}, "set " + token + "_FILE to"},
		{"nobody", nil, "set " + both + ", or " + token, nil, "set " + both + ", or " + token + ", to"},
	} {
		for _, status := range []int32{http.StatusUnauthorized, http.StatusForbidden} {
			answer.Store(status)
			_, _, log := once(t, w, c.env)
			told := lastError(log)
			text, _, _ := call(t, w, c.env, "check")
			advice := strings.Join(strings.Fields(adviceOf(text, "Registry")), " ")
			if !strings.Contains(told, http.StatusText(int(status))) || !strings.Contains(told, c.says) || !strings.Contains(advice, c.advice) {
				t.Errorf("%s, %d: got %q, want %q, and the advice %q, want %q", c.claim, status, told, c.says, advice, c.advice)
			}
			for _, name := range c.never {
				if strings.Contains(told, name) || strings.Contains(advice, name) {
					t.Errorf("%s, %d: got %q and the advice %q, of which %s is not set", c.claim, status, told, advice, name)
				}
			}
		}
	}
}

// with returns a copy of the settings with others over them.
func with(base env, more ...string) env {
	all := env{}
	for name, value := range base {
		all[name] = value
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestTheSettingsOfTLSGoWithTLS(t *testing.T) {
	a := newAuthority(t, "ours")
	client, other := a.sign("client", time.Hour), a.sign("other", time.Hour)
	encrypted := file(t, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"+base64.StdEncoding.EncodeToString([]byte("x"))+"\n-----END ENCRYPTED PRIVATE KEY-----\n")
	for _, side := range []struct {
		prefix         string
		secure, plain  env
		over, noScheme string
	}{
		{"REDIS", env{"REDIS_HOST": "rediss://host"}, env{"REDIS_HOST": "redis://host"}, "REDIS_HOST", "rediss://"},
		{"SCHEMA_REGISTRY", env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "https://host"}, env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://host"}, "URL", "https://"},
	} {
		ca, cert, key := side.prefix+"_TLS_CA", side.prefix+"_TLS_CERT", side.prefix+"_TLS_KEY"
		for _, c := range []struct {
			claim string
			env   env
			want  string // that the one fault begins with and, behind a *, has in it; empty: none
		}{
			{"all", with(side.secure, ca, a.path, cert, client.cert, key, client.key), ""},
			{"a key from a file", with(side.secure, cert, client.cert, key+"_FILE", client.key), ""},
			{"all as text", with(side.secure, ca, read(t, a.path), cert, read(t, client.cert), key, strings.ReplaceAll(read(t, client.key), "\n", `\n`)), ""},
			{"an authority without TLS", with(side.plain, ca, a.path), ca + " *" + side.noScheme},
			{"a key without TLS", with(side.plain, key, client.key, cert, client.cert), cert + " *" + side.noScheme},
			{"no key", with(side.secure, cert, client.cert), key + " *needs its key"},
			{"no certificate", with(side.secure, key, client.key), cert + " *the key of no certificate"},
			{"another key", with(side.secure, cert, client.cert, key, other.key), cert + " *do not go together"},
			{"an encrypted key", with(side.secure, cert, client.cert, key, encrypted), key + " *without a password"},
			{"no such file", with(side.secure, ca, "/nowhere/ca.pem"), ca + " */nowhere/ca.pem"},
			{"another kind of file", with(side.secure, ca, client.key), ca + " *no certificate"},
		} {
			_, err := load(nil, minimal(c.env).get, io.Discard)
			begin, within, _ := strings.Cut(c.want, "*")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), begin) || !strings.Contains(err.Error(), within)) {
				t.Errorf("%s, %s: got %v, want %q", side.prefix, c.claim, err, c.want)
			}
			if err != nil && exitCode(err) != 2 {
				t.Errorf("%s, %s: got exit %d, want 2", side.prefix, c.claim, exitCode(err))
			}
		}
	}
	for _, c := range []struct {
		claim string
		env   env
		want  string
	}{
		{"a socket", env{"REDIS_HOST": "unix:///run/redis", "REDIS_TLS_CA": a.path}, "REDIS_TLS_CA does not go with the socket"},
		{"whoever it is", env{"REDIS_HOST": "rediss://host?skip_verify=true", "REDIS_TLS_CA": a.path}, "REDIS_TLS_CA does not go with the skip_verify"},
		{"two users", env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "https://a:b@host", "SCHEMA_REGISTRY_USERNAME": "c", "SCHEMA_REGISTRY_PASSWORD": "d"}, "SCHEMA_REGISTRY_USERNAME is set beside a user in the URL"},
		{"a user and a token", env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "https://a:b@host", "SCHEMA_REGISTRY_TOKEN": "c"}, "SCHEMA_REGISTRY_TOKEN is set beside a user in the URL"},
	} {
		if _, err := load(nil, minimal(c.env).get, io.Discard); err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", c.claim, err, c.want)
		}
	}
	for _, c := range []struct {
		claim string
		env   env
		want  string
	}{
		{"whoever it is", env{"REDIS_HOST": "rediss://host?skip_verify=true"}, "skip_verify"},
		{"a password in the clear", env{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://a:b@host"}, "can be read on the way"},
	} {
		if cfg := loadOK(t, minimal(c.env)); len(cfg.warnings) != 1 || !strings.Contains(cfg.warnings[0], c.want) {
			t.Errorf("%s: got the warnings %q, want %q", c.claim, cfg.warnings, c.want)
		}
	}
}

func TestSkipVerifyIsReadAsRedisReadsIt(t *testing.T) {
	a := newAuthority(t, "ours")
	for _, c := range []struct {
		value string
		skips bool
	}{{"true", true}, {"1", true}, {"false", false}, {"0", false}, {"", false}} {
		address := "rediss://host?skip_verify=" + c.value
		cfg := loadOK(t, minimal(env{"REDIS_HOST": address}))
		if warned := len(cfg.warnings) == 1; warned != c.skips {
			t.Errorf("%s: got warnings %q", address, cfg.warnings)
		}
		_, err := load(nil, minimal(env{"REDIS_HOST": address, "REDIS_TLS_CA": a.path}).get, io.Discard)
		if (err != nil) != c.skips {
			t.Errorf("%s, with an authority: got %v", address, err)
		}
	}
	if _, err := load(nil, minimal(env{"REDIS_HOST": "rediss://host?skip_verify=never"}).get, io.Discard); err == nil {
		t.Error("a word that is neither was accepted")
	}
}
