package publish_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// inMemory carries requests to a handler without a socket.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, req)
	return rec.Result(), nil
}

func newAvro(t testing.TB, registry http.Handler, topic string, o publish.AvroOptions) *publish.Avro {
	t.Helper()
	r, err := publish.NewRegistry("http://registry.test", publish.RegistryOptions{Transport: inMemory{registry}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := publish.NewAvro(r, topic, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func prepare(t testing.TB, a *publish.Avro) shiftsync.Schemas {
	t.Helper()
	s, err := a.Prepare(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// countRequests returns how many requests came since.
func countRequests(fake *srfake.Registry) func() int64 {
	var n atomic.Int64
	fake.Intercept(func(http.ResponseWriter, *http.Request) bool { n.Add(1); return false })
	return n.Load
}

// registryAt serves the handler on loopback and returns a client of it.
func registryAt(t *testing.T, h http.Handler, o publish.RegistryOptions) *publish.Registry {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	r, err := publish.NewRegistry(server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// valueRefers is a schema that is not whole without the one of a key.
const valueRefers = `{"type": "record", "name": "value", "fields": [{"name": "key", "type": "old.ns.Key"}]}`

func TestRegistryCalls(t *testing.T) {
	onEachRegistry(t, func(t *testing.T, r *registry, subject func(string) string) { registryCalls(t, r, subject) })
}

func registryCalls(t *testing.T, r *registry, subject func(string) string) {
	ctx, s := t.Context(), subject("s")
	if _, err := r.Latest(ctx, s); !errors.Is(err, publish.ErrNotRegistered) {
		t.Errorf("latest of nothing: %v", err)
	}
	if _, err := r.Versions(ctx, s); !errors.Is(err, publish.ErrNotRegistered) {
		t.Errorf("versions of nothing: %v", err)
	}
	if _, err := r.Find(ctx, s, keyLong); !errors.Is(err, publish.ErrNotRegistered) {
		t.Errorf("find in nothing: %v", err)
	}
	if _, err := r.Schema(ctx, math.MaxInt32); !errors.Is(err, publish.ErrNotRegistered) {
		t.Errorf("no such schema: %v", err)
	}
	first, err := r.Register(ctx, s, keyInt)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Register(ctx, s, keyLong)
	if err != nil || second.ID == first.ID {
		t.Fatalf("%+v, %v; want another id than %d", second, err, first.ID)
	}
	if got, err := r.Latest(ctx, s); err != nil || got.ID != second.ID || got.Version != 2 || got.Schema != keyLong {
		t.Errorf("latest %+v, %v; want version 2", got, err) // seen at once: nothing is cached
	}
	if got, err := r.Find(ctx, s, keyInt); err != nil || got.ID != first.ID || got.Version != 1 {
		t.Errorf("found %+v, %v; want version 1", got, err)
	}
	if _, err := r.Find(ctx, s, schemas.Value("x")); !errors.Is(err, publish.ErrNotRegistered) {
		t.Errorf("find what is not there: %v", err)
	}
	if got, err := r.Versions(ctx, s); err != nil || fmt.Sprint(got) != "[1 2]" {
		t.Errorf("versions %v, %v", got, err)
	}
	if got, err := r.Version(ctx, s, 1); err != nil || got.Schema != keyInt {
		t.Errorf("version 1 is %+v, %v", got, err)
	}
	if got, err := r.Schema(ctx, first.ID); err != nil || got.Schema != keyInt || got.ID != first.ID {
		t.Errorf("schema by id is %+v, %v", got, err)
	}
	if ok, err := r.Compatible(ctx, s, keyLong); err != nil || !ok {
		t.Errorf("compatible: %v, %v", ok, err)
	}
	for name, schema := range map[string]sr.Schema{
		"json":   {Schema: `{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}`, Type: sr.TypeJSON},
		"refers": {Schema: valueRefers, References: []sr.SchemaReference{{Name: "old.ns.Key", Subject: s, Version: 1}}},
	} {
		if _, err := r.admin.CreateSchema(ctx, subject(name), schema); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Latest(ctx, subject(name)); err != nil || got.Foreign == "" {
			t.Errorf("%s: %+v, %v; want it to be foreign", name, got, err)
		}
	}
}

func TestRegisteredButNotReadBack(t *testing.T) {
	fake := srfake.NewRegistry()
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		late := strings.HasPrefix(req.URL.Path, "/schemas/ids/")
		if late {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error_code": 40403, "message": "not yet"}`))
		}
		return late
	})
	_, err := registryAt(t, fake.Handler(), publish.RegistryOptions{}).Register(t.Context(), "s", keyLong)
	if err == nil || errors.Is(err, publish.ErrNotRegistered) || errors.Is(err, publish.ErrRegistryRefused) {
		t.Errorf("error %v, want one that may pass", err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere.test/")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"null", answer(200, "null"), "something other than a JSON object"},
		{"an empty object", answer(200, "{}"), "without a schema"},
		{"an empty list", answer(200, "[]"), "cannot unmarshal array"},
		{"nothing", answer(200, ""), "something other than a JSON object"},
		{"no content", answer(204, ""), "something other than a JSON object"},
		{"a page", answer(200, "<html>"), "something other than a JSON object"},
		{"half an object", answer(200, `{"id": 1, "schema"`), "something other than a JSON object"},
		{"id 0", answer(200, `{"id": 0, "version": 1, "schema": "\"long\""}`), "id that cannot be"},
		{"a negative id", answer(200, `{"id": -1, "version": 1, "schema": "\"long\""}`), "id that cannot be"},
		{"an id beyond the wire format", answer(200, `{"id": 2147483648, "version": 1, "schema": "\"long\""}`), "id that cannot be"},
		{"an id in words", answer(200, `{"id": "one", "version": 1, "schema": "\"long\""}`), "cannot unmarshal"},
		{"a page of a proxy", answer(502, "<html>secret</html>"), "502 Bad Gateway"},
		{"a 404 that is not a registry's", answer(404, "not found"), "check the path"},
		{"a redirect", answer(302, ""), "redirects are not followed"},
		{"a refused login", answer(401, `{"error_code": 401, "message": "who are you"}`), "401 Unauthorized: who are you: it wants a login: set SCHEMA_REGISTRY_USERNAME"},
		{"more than anyone needs", func(w http.ResponseWriter, _ *http.Request) {
			block := []byte(strings.Repeat(" ", 1<<20))
			for range 17 {
				_, _ = w.Write(block)
			}
		}, "larger than 16 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := registryAt(t, tt.h, publish.RegistryOptions{})
			_, err := r.Latest(t.Context(), "s")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("latest: error %v, want %s", err, tt.want)
			}
			if errors.Is(err, publish.ErrNotRegistered) {
				t.Error("latest: taken for a subject that is not there")
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("latest: error quotes the page: %v", err)
			}
			for call, f := range map[string]func() error{
				"register": func() error { _, err := r.Register(t.Context(), "s", keyLong); return err },
				"find":     func() error { _, err := r.Find(t.Context(), "s", keyLong); return err },
				"version":  func() error { _, err := r.Version(t.Context(), "s", 1); return err },
			} {
				if err := f(); err == nil || errors.Is(err, publish.ErrNotRegistered) {
					t.Errorf("%s: error %v", call, err)
				}
			}
			// By id, the registry does not repeat the id.
			if _, err := r.Schema(t.Context(), 1); err == nil && !strings.Contains(tt.name, "id") {
				t.Error("schema: no error")
			}
			a, err := publish.NewAvro(r, "s", publish.AvroOptions{Register: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Prepare(t.Context(), false); err == nil {
				t.Error("prepare: no error")
			}
		})
	}
}

func TestCancelEndsACall(t *testing.T) {
	arrived := make(chan struct{})
	done := make(chan struct{})
	r := registryAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{")) // the header is there, the body hangs
		w.(http.Flusher).Flush()
		close(arrived)
		<-done
	}), publish.RegistryOptions{})
	t.Cleanup(func() { close(done) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := r.Latest(ctx, "s"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestCredentials(t *testing.T) {
	const secret = "s3cret/word"
	login := func(c publish.Credentials) publish.RegistryOptions {
		return publish.RegistryOptions{Login: func() (publish.Credentials, error) { return c, nil }}
	}
	for _, tt := range []struct {
		name    string
		expects string // the header
		user    string // in the address
		options publish.RegistryOptions
	}{
		{"user and password", "Basic dTpzM2NyZXQvd29yZA==", "", login(publish.BasicCredentials("u", secret))},
		{"token", "Bearer " + secret, "", login(publish.BearerCredentials(secret))},
		{"user info in the address", "Basic dTpzM2NyZXQvd29yZA==", "u:s3cret%2Fword@", publish.RegistryOptions{}},
		{"a login wins over the address", "Bearer " + secret, "a:b@", login(publish.BearerCredentials(secret))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := srfake.NewRegistry(srfake.WithAuth(tt.expects))
			fake.SeedSchema("s", 1, 1, sr.Schema{Schema: keyLong})
			server := httptest.NewServer(http.StripPrefix("/apis/ccompat/v7", fake.Handler()))
			t.Cleanup(server.Close)
			host := strings.TrimPrefix(server.URL, "http://")
			r, err := publish.NewRegistry("http://"+tt.user+host+"/apis/ccompat/v7/", tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.Latest(t.Context(), "s"); err != nil || got.ID != 1 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}

	t.Run("a password that changes is used at once", func(t *testing.T) {
		password := "old"
		fake := srfake.NewRegistry(srfake.WithAuth("Bearer new"))
		fake.SeedSchema("s", 1, 1, sr.Schema{Schema: keyLong})
		r := registryAt(t, fake.Handler(), publish.RegistryOptions{
			Login: func() (publish.Credentials, error) { return publish.BearerCredentials(password), nil },
		})
		if _, err := r.Latest(t.Context(), "s"); !errors.Is(err, publish.ErrRegistryRefused) {
			t.Errorf("error %v, want a refusal", err)
		}
		password = "new"
		if _, err := r.Latest(t.Context(), "s"); err != nil {
			t.Error(err)
		}
	})

	t.Run("a schema is sent again with other credentials", func(t *testing.T) {
		password, wants := "old", "Bearer old"
		fake := srfake.NewRegistry()
		fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			refused := req.Header.Get("Authorization") != wants
			if refused {
				w.WriteHeader(http.StatusUnauthorized)
			}
			return refused
		})
		r := registryAt(t, fake.Handler(), publish.RegistryOptions{
			Login: func() (publish.Credentials, error) { return publish.BearerCredentials(password), nil },
		})
		if _, err := r.Register(t.Context(), "s", keyInt); err != nil {
			t.Fatal(err)
		}
		password, wants = "new", "Bearer new"
		if got, err := r.Register(t.Context(), "s", keyLong); err != nil || got.Schema != keyLong {
			t.Errorf("got %+v, %v", got, err)
		}
	})

	t.Run("what was accepted is shown until it is refused", func(t *testing.T) {
		password := "old"
		fake := srfake.NewRegistry(srfake.WithAuth("Bearer old"))
		fake.SeedSchema("s", 1, 1, sr.Schema{Schema: keyLong})
		r := registryAt(t, fake.Handler(), publish.RegistryOptions{
			Login: func() (publish.Credentials, error) { return publish.BearerCredentials(password), nil },
		})
		for range 2 {
			if _, err := r.Latest(t.Context(), "s"); err != nil {
				t.Error(err)
			}
			password = "new" // before the registry knows it
		}
	})

	t.Run("a login that cannot be read", func(t *testing.T) {
		gone := errors.New("gone")
		r := registryAt(t, srfake.NewRegistry().Handler(), publish.RegistryOptions{
			Login: func() (publish.Credentials, error) { return publish.Credentials{}, gone },
		})
		if _, err := r.Latest(t.Context(), "s"); !errors.Is(err, gone) {
			t.Errorf("error %v, want %v", err, gone)
		}
	})

	t.Run("no secret in errors or logs", func(t *testing.T) {
		echo := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, password, _ := req.BasicAuth()
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]any{"message": "no: " + req.Header.Get("Authorization") + " " + password})
		})
		server := httptest.NewServer(echo)
		withUser := strings.Replace(server.URL, "http://", "http://uname:s3cret%2Fword@", 1)
		r, err := publish.NewRegistry(withUser, publish.RegistryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, refused := r.Latest(t.Context(), "s")
		server.Close()
		_, away := r.Latest(t.Context(), "s")
		_, malformed := publish.NewRegistry("http://uname:s3cret/word@registry:8081", publish.RegistryOptions{})
		var logged strings.Builder
		for _, c := range []publish.Credentials{publish.BasicCredentials("uname", secret), publish.BearerCredentials(secret)} {
			slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "c", c)
			slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "c", c)
			fmt.Fprintf(&logged, "%v %+v %#v %s", c, c, c, c)
		}
		for what, text := range map[string]string{
			"refused": fmt.Sprint(refused), "away": fmt.Sprint(away), "malformed": fmt.Sprint(malformed), "logged": logged.String(),
		} {
			if text == "<nil>" || text == "" {
				t.Errorf("%s: nothing to look at", what)
			}
			for _, part := range []string{"s3cret", "s3cret%2Fword", "uname", "dW5hbWU6czNjcmV0L3dvcmQ="} {
				if strings.Contains(text, part) {
					t.Errorf("%s: %q holds %q", what, text, part)
				}
			}
		}
		if !strings.Contains(away.Error(), "/subjects/s/versions/latest") {
			t.Errorf("%v does not say what was asked", away)
		}
	})
}

func TestTLS(t *testing.T) {
	for _, c := range []struct {
		claim   string
		server  *tls.Config
		trusted bool
		says    string
	}{
		{"a certificate that is known", &tls.Config{}, true, ""},
		{"a certificate that nobody knows", &tls.Config{}, false, "certificate signed by unknown authority"},
		{"an old TLS", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false, "protocol version"},
	} {
		fake := srfake.NewRegistry()
		fake.SeedSchema("s", 1, 1, sr.Schema{Schema: keyLong})
		server := httptest.NewUnstartedServer(fake.Handler())
		server.TLS = c.server
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		server.StartTLS()
		t.Cleanup(server.Close)
		asked := countRequests(fake)
		config := &tls.Config{}
		if c.trusted {
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AddCert(server.Certificate())
		}
		r, err := publish.NewRegistry(server.URL, publish.RegistryOptions{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Latest(t.Context(), "s")
		if (err == nil) != c.trusted || (asked() > 0) != c.trusted || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q; it was asked: %v", c.claim, err, c.says, asked() > 0)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, good := range map[string]bool{
		"http://registry:8081":            true,
		"https://registry/apis/ccompat/7": true,
		"http://u:p@registry/":            true,
		"registry:8081":                   false,
		"ftp://registry":                  false,
		"http://":                         false,
		"":                                false,
		"http://registry?x=y":             false,
		"http://registry#x":               false,
		"http://a:8081,http://b:8081":     false,
	} {
		if _, err := publish.NewRegistry(address, publish.RegistryOptions{}); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestAnAnewLookDoesNotWaitForTheRefresh(t *testing.T) {
	fake := srfake.NewRegistry()
	fake.SeedSchema("slots-key", 1, 11, sr.Schema{Schema: keyLong})
	fake.SeedSchema("slots-value", 1, 21, sr.Schema{Schema: schemas.Value2018("slots")})
	a := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{})
	for i, step := range []struct {
		anew bool
		want shiftsync.SchemaID
	}{{false, 21}, {false, 21}, {true, 22}, {false, 22}} {
		found, err := a.Prepare(t.Context(), step.anew)
		if err != nil || found.Value != step.want {
			t.Errorf("anew %v: got schema %d, %v, want %d", step.anew, found.Value, err, step.want)
		}
		if i == 0 { // somebody registers ours
			fake.SeedSchema("slots-value", 2, 22, sr.Schema{Schema: schemas.Value("slots")})
		}
	}
}
