package main

import (
	"context"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// rotation is a secret in a file that is replaced while the worker runs.
type rotation struct {
	setting string      // that names the file
	first   string      // what it holds
	then    string      // what it is replaced by
	around  env         // the other settings
	turn    func()      // makes the server want the second
	says    string      // what the log says until the file is replaced
	look    func()      // makes the worker ask the server, which it else does every few minutes
	end     func() bool // lets everybody in, and tells whether the second was used
}

// rotate lets the worker run through it: the server first or the file first, in the end the topic has each change once.
func (r rotation) rotate(t *testing.T, w *world.World, fileFirst bool) {
	t.Helper()
	path := file(t, r.first+"\n")
	settings := env{"SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000", r.setting: path}
	settings[strings.TrimSuffix(r.setting, "_FILE")] = ""
	maps.Copy(settings, r.around)
	log := loop(t, in(w, settings))
	more := func() {
		t.Helper()
		log.until(t, good, strings.Count(log.String(), good)+2) // the first may have begun before
	}
	change := func() {
		if r.look != nil {
			r.look()
		}
		w.API.Churn(3)
	}
	more()
	if fileFirst {
		replace(t, path, r.then)
		more()
		r.turn()
	} else {
		r.turn()
		change()
		log.until(t, r.says, 1)
		replace(t, path, r.then+"\n")
	}
	change()
	more()
	w.API.Churn(3)
	more()
	log.halt(t)
	if r.end != nil && !r.end() {
		t.Errorf("the server was not asked with the second:\n%s", log)
	}
	if fileFirst && strings.Contains(log.String(), r.says) {
		t.Errorf("it was refused though the file was there in time:\n%s", log)
	}
	for _, secret := range []string{r.first, r.then} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("a secret is in\n%s", log)
		}
	}
	eachOnce(t, inStep(t, w))
}

// eachOnce fails if a version of a shift is in the topic twice in a row.
func eachOnce(t *testing.T, records []record) {
	t.Helper()
	last := map[int64]string{}
	for _, r := range records {
		hash := string(r.Headers["slotsync-hash"])
		if hash == "" || last[r.id] == hash {
			t.Errorf("shift %d was published twice as it is", r.id)
		}
		last[r.id] = hash
	}
}

// guard lets those into the registry who show what it wants.
type guard struct {
	mu    sync.Mutex // guards all below
	wants string     // as the Authorization header
	let   int        // in since then
}

func guarded(w *world.World, wants string) *guard {
	g := &guard{wants: wants}
	w.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.wants != "" && r.Header.Get("Authorization") != g.wants {
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"error_code":401,"message":"Unauthorized"}`))
			return true
		}
		g.let++
		return false
	})
	return g
}

func (g *guard) want(header string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wants, g.let = header, 0
}

// open lets everybody in from now on, and tells whether somebody came in before.
func (g *guard) open() (used bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	used, g.wants = g.let > 0, ""
	return used
}

// unlease takes the lease away: who takes it again, when there is something to write, looks anew at the schemas.
func unlease(w *world.World) {
	for _, key := range w.Redis.Keys() {
		if strings.HasSuffix(key, ":lease") {
			w.Redis.Del(key)
		}
	}
}

func basic(user, password string) string {
	r, _ := http.NewRequest(http.MethodGet, "http://x", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

const (
	firstSecret = "made-up-first-secret"
	thenSecret  = "made-up-second-secret"
)

func TestEachSecretInAFileIsReplacedWhileTheWorkerRuns(t *testing.T) {
	registry := func(w *world.World, setting, first, then string, around env, header func(secret string) string) rotation {
		g := guarded(w, header(firstSecret))
		return rotation{
			setting: setting, first: first, then: then, around: around, says: "401 Unauthorized",
			turn: func() { g.want(header(thenSecret)) }, look: func() { unlease(w) }, end: g.open,
		}
	}
	for _, c := range []struct {
		name string
		make func(w *world.World) rotation
	}{
		{"WIW_KEY_FILE", func(w *world.World) rotation {
			w.API.SetToken(firstSecret)
			return rotation{setting: "WIW_KEY_FILE", first: firstSecret, then: thenSecret, says: "401 Unauthorized", turn: func() { w.API.SetToken(thenSecret) }}
		}},
		{"WIW_PASSWORD_FILE", func(w *world.World) rotation {
			login := wiwtest.Login{DeveloperKey: loginKey, Email: loginEmail, Password: firstSecret}
			w.API.SetLogin(login)
			return rotation{
				setting: "WIW_PASSWORD_FILE", first: firstSecret, then: thenSecret, says: "are WIW_EMAIL and WIW_PASSWORD right?",
				around: env{"WIW_KEY": "", "WIW_DEVELOPER_KEY": loginKey, "WIW_EMAIL": loginEmail, "WIW_LOGIN_URL": w.APIURL + "/login"},
				turn: func() {
					login.Password = thenSecret
					w.API.SetLogin(login)
					w.API.Revoke()
				},
			}
		}},
		{"WIW_DEVELOPER_KEY_FILE", func(w *world.World) rotation {
			login := wiwtest.Login{DeveloperKey: firstSecret, Email: loginEmail, Password: loginPassword}
			w.API.SetLogin(login)
			return rotation{
				setting: "WIW_DEVELOPER_KEY_FILE", first: firstSecret, then: thenSecret, says: "WIW_DEVELOPER_KEY",
				around: env{"WIW_KEY": "", "WIW_EMAIL": loginEmail, "WIW_PASSWORD": loginPassword, "WIW_LOGIN_URL": w.APIURL + "/login"},
				turn: func() {
					login.DeveloperKey = thenSecret
					w.API.SetLogin(login)
					w.API.Revoke()
				},
			}
		}},
		{"SCHEMA_REGISTRY_PASSWORD_FILE", func(w *world.World) rotation {
			return registry(w, "SCHEMA_REGISTRY_PASSWORD_FILE", firstSecret, thenSecret, env{"SCHEMA_REGISTRY_USERNAME": "me"},
				func(secret string) string { return basic("me", secret) })
		}},
		{"SCHEMA_REGISTRY_TOKEN_FILE", func(w *world.World) rotation {
			return registry(w, "SCHEMA_REGISTRY_TOKEN_FILE", firstSecret, thenSecret, nil,
				func(secret string) string { return "Bearer " + secret })
		}},
		{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL_FILE", func(w *world.World) rotation {
			at := func(secret string) string { return strings.Replace(w.Registry.URL(), "://", "://me:"+secret+"@", 1) }
			return registry(w, "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL_FILE", at(firstSecret), at(thenSecret), nil,
				func(secret string) string { return basic("me", secret) })
		}},
		{"REDIS_HOST_FILE", func(w *world.World) rotation {
			w.Redis.RequireUserAuth("me", firstSecret)
			at := func(secret string) string { return redisAt("redis", "me", secret, w.Redis.Addr()) }
			return rotation{
				setting: "REDIS_HOST_FILE", first: at(firstSecret), then: at(thenSecret), says: "WRONGPASS",
				turn: func() {
					w.Redis.Close() // and with it all connections, as Redis does when a user is deleted
					w.Redis.RequireUserAuth("me", thenSecret)
					if err := w.Redis.Restart(); err != nil {
						t.Error(err)
					}
				},
			}
		}},
	} {
		for order, fileFirst := range map[string]bool{"the server first": false, "the file first": true} {
			t.Run(c.name+"/"+order, func(t *testing.T) {
				t.Parallel()
				w := start(t, world.Options{Shifts: 20, Partitions: 2})
				c.make(w).rotate(t, w, fileFirst)
			})
		}
	}
}

func TestAnAddressThatChangesIsNotFollowedWithASecret(t *testing.T) {
	w := start(t, world.Options{Shifts: 5, Partitions: 1})
	w.Redis.RequireUserAuth("me", "other")
	g := guarded(w, "Bearer never")
	elsewhere := start(t, world.Options{Shifts: 5, Partitions: 1})
	redisFile, registryFile := file(t, redisAt("redis", "me", firstSecret, w.Redis.Addr())), file(t, w.Registry.URL())
	cfg := loadOK(t, in(w, env{
		"REDIS_HOST": "", "REDIS_HOST_FILE": redisFile,
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "", "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL_FILE": registryFile,
	}))
	client, err := newRedis(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	registry, err := newRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, redisFile, redisAt("redis", "me", thenSecret, elsewhere.Redis.Addr()))
	replace(t, registryFile, strings.Replace(elsewhere.Registry.URL(), "://", "://me:"+thenSecret+"@", 1))
	for name, ask := range map[string]func() error{
		"REDIS_HOST": func() error { return client.Get(t.Context(), "x").Err() },
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL_FILE": func() error { _, err := registry.Latest(t.Context(), "s"); return err },
	} {
		err := ask()
		if err == nil || !strings.Contains(err.Error(), name+" names another") || !strings.Contains(err.Error(), "start again") || strings.Contains(err.Error(), thenSecret) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if g.open() {
		t.Error("the registry let somebody in")
	}
}

func TestCertificatesOfTheRegistryAreReplacedWhileTheWorkerRuns(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	old, young := before.sign("server", time.Hour, "127.0.0.1"), after.sign("server", time.Hour, "127.0.0.1")
	oldClient, youngClient := before.sign("client", time.Hour), after.sign("client", time.Hour)
	ca, cert, key := file(t, read(t, before.path)), file(t, read(t, oldClient.cert)), file(t, read(t, oldClient.key))
	w := start(t, world.Options{Shifts: 20, Partitions: 2})
	gate := front(t, w.Registry.URL(), old, before.pool(), "")
	log := loop(t, in(w, env{
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": gate.URL, "SCHEMA_REGISTRY_TOKEN": hush,
		"SCHEMA_REGISTRY_TLS_CA": ca, "SCHEMA_REGISTRY_TLS_CERT": cert, "SCHEMA_REGISTRY_TLS_KEY": key,
		"SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000",
	}))
	more := func() {
		t.Helper()
		log.until(t, good, strings.Count(log.String(), good)+2)
	}
	look := func() {
		unlease(w)
		w.API.Churn(3)
	}
	more()
	gate.show(t, young, after.pool())
	look()
	log.until(t, "not signed by an authority in SCHEMA_REGISTRY_TLS_CA", 1)
	replace(t, ca, read(t, after.path))
	look()
	log.until(t, "does not accept the certificate in SCHEMA_REGISTRY_TLS_CERT", 1)
	replace(t, cert, read(t, youngClient.cert))
	replace(t, key, read(t, youngClient.key))
	look()
	log.until(t, "took the lease", 4)
	more()
	log.halt(t)
	if told := log.String()[strings.LastIndex(log.String(), "took the lease"):]; strings.Contains(told, "went wrong") {
		t.Errorf("it is still refused:\n%s", told)
	}
	eachOnce(t, inStep(t, w))
}

// With a real server: certificates and authorities of both sides, and the user that the README's rule makes.
func TestCertificatesOfRedisAreReplacedWhileTheWorkerRuns(t *testing.T) {
	fromStack(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start one more
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	old, young := before.sign("server", time.Hour, "127.0.0.1"), after.sign("server", time.Hour, "127.0.0.1")
	oldClient, youngClient := before.sign("client", time.Hour), after.sign("client", time.Hour)
	s, err := cachetest.Start(t.TempDir(), append(before.ofRedis(old).Settings(), "--tls-auth-clients", "yes")...)
	started(t, s)(err)
	do := func(args ...any) {
		t.Helper()
		if err := s.Do(context.WithoutCancel(t.Context()), args...); err != nil {
			t.Fatal(err)
		}
	}
	allow(t, s, "slotsync", firstSecret)
	ca, cert, key := file(t, read(t, before.path)), file(t, read(t, oldClient.cert)), file(t, read(t, oldClient.key))
	at := file(t, redisAt("rediss", "slotsync", firstSecret, s.TLSAddr))

	w := start(t, world.Options{Shifts: 20, Partitions: 2})
	log := loop(t, in(w, env{
		"REDIS_HOST": "", "REDIS_HOST_FILE": at, "REDIS_TLS_CA": ca, "REDIS_TLS_CERT": cert, "REDIS_TLS_KEY_FILE": key,
		"SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000",
	}))
	more := func() {
		t.Helper()
		log.until(t, good, strings.Count(log.String(), good)+2)
	}
	more() // nothing is to be sent: a batch whose remembering is cut off would be sent again
	do("CONFIG", "SET", "tls-ca-cert-file", after.path, "tls-cert-file", young.cert, "tls-key-file", young.key)
	do("ACL", "SETUSER", "slotsync", "resetpass", ">"+thenSecret)
	do("CLIENT", "KILL", "USER", "slotsync")
	w.API.Churn(3)
	log.until(t, "not signed by an authority in REDIS_TLS_CA", 1)
	replace(t, ca, read(t, after.path))
	log.until(t, "does not accept the certificate in REDIS_TLS_CERT", 1)
	replace(t, cert, read(t, youngClient.cert))
	replace(t, key, read(t, youngClient.key))
	log.until(t, "WRONGPASS", 1)
	replace(t, at, redisAt("rediss", "slotsync", thenSecret, s.TLSAddr))
	more()
	w.API.Churn(3)
	more()
	log.halt(t)
	eachOnce(t, inStep(t, w))
}

// The registry is asked with what it wants now, for as long as it wants it.
func TestARefusalOfARightIsNotTakenForOneOfAPassword(t *testing.T) {
	w := start(t, world.Options{})
	w.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		rw.WriteHeader(http.StatusForbidden)
		return true
	})
	path := file(t, firstSecret)
	cfg := loadOK(t, in(w, env{"SCHEMA_REGISTRY_TOKEN_FILE": path}))
	registry, err := newRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = registry.Latest(t.Context(), "s")
	if err == nil || !strings.Contains(err.Error(), "SCHEMA_REGISTRY_TOKEN_FILE") {
		t.Errorf("got %v, want the file that is gone", err)
	}
	replace(t, path, firstSecret)
	if _, err = registry.Latest(t.Context(), "s"); err == nil || !strings.Contains(err.Error(), "needs the right to the subjects") {
		t.Errorf("got %v, want a lack of rights", err)
	}
}
