package publish

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/riferrei/srclient"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Registry speaks with a schema registry that has the interface of Confluent's. It keeps nothing: each call asks the
// server, and lasts no longer than its context. It may be used by several goroutines at once.
type Registry struct {
	address   string // no user info, no slash at the end
	login     func() (Credentials, error)
	transport http.RoundTripper

	mu       sync.Mutex  // guards what follows
	accepted Credentials // last, by the registry; zero: none yet
	answered time.Time   // when it answered last
	silence  error       // why it did not since
}

// RegistryOptions say how to reach a registry. The zero value asks without credentials, or with those in the address.
type RegistryOptions struct {
	// Login is asked at first, and again when what it gave is refused, so that a password may be replaced in its file.
	Login func() (Credentials, error)
	// Transport carries the requests; nil: the system's roots and proxy, and no client certificate.
	Transport http.RoundTripper
}

// Credentials are what a registry is shown with each request. The zero value is nothing.
type Credentials struct {
	header string // the Authorization header
	secret string // the part of it that must not appear anywhere else
	from   string // the settings that they are from, for advice
}

// BasicCredentials are a user name and a password.
func BasicCredentials(user, password string) Credentials {
	pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return Credentials{header: "Basic " + pair, secret: password}
}

// BearerCredentials are a token.
func BearerCredentials(token string) Credentials {
	return Credentials{header: "Bearer " + token, secret: token}
}

// From returns the credentials with the names of the settings that they are from, for errors that tell what to look at.
func (c Credentials) From(settings string) Credentials {
	c.from = settings
	return c
}

// shown names what a registry was shown; "" if it was nothing.
func (c Credentials) shown() string {
	if c.from == "" && c.header != "" {
		return "the credentials"
	}
	return c.from
}

// String keeps the credentials out of logs.
func (Credentials) String() string { return "[redacted]" }

// GoString keeps the credentials out of logs.
func (Credentials) GoString() string { return "[redacted]" }

// SchemaVersion is a schema as a registry holds it.
type SchemaVersion struct {
	ID      shiftsync.SchemaID // positive
	Version int                // within its subject; 0: the registry did not say
	Schema  string
	// Foreign says why the schema cannot be used, if it is not plain Avro.
	Foreign string
}

var (
	// ErrNotRegistered says that the registry has no such subject, version or schema.
	ErrNotRegistered = errors.New("not registered")
	// ErrRegistryRefused says that the registry understood what was asked and would refuse it again: no right, read
	// only, or incompatible.
	ErrRegistryRefused = errors.New("refused")
)

// maxAnswer is far above any schema, and keeps a wrong address from filling the memory.
const maxAnswer = 16 << 20

// NewRegistry returns a client of the registry at address, a URL with http or https that may hold a path and user info.
func NewRegistry(address string, o RegistryOptions) (*Registry, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		// Neither the address nor the parser's error is quoted: a password may stand in both.
		return nil, errors.New("schema registry: not a URL of the form http://host:port/path " +
			"(special characters in a user name or password have to be percent-encoded)")
	}
	r := &Registry{login: o.Login, transport: o.Transport}
	if r.login == nil {
		var c Credentials
		if password, ok := u.User.Password(); ok || u.User.Username() != "" {
			c = BasicCredentials(u.User.Username(), password).From("the URL of the registry")
		}
		r.login = func() (Credentials, error) { return c, nil }
	}
	u.User = nil // it travels in a header, and errors may then quote the address
	r.address = strings.TrimRight(u.String(), "/")
	if r.transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		// A few requests every some minutes: a kept connection would mostly be found dead, and a POST is not repeated.
		t.DisableKeepAlives = true
		r.transport = t
	}
	return r, nil
}

// Latest returns the newest version of the subject, or ErrNotRegistered.
func (r *Registry) Latest(ctx context.Context, subject string) (SchemaVersion, error) {
	s, err := r.client(ctx).GetLatestSchema(subject)
	return schemaVersion(s, err)
}

// Versions returns the numbers of the subject's versions, or ErrNotRegistered.
func (r *Registry) Versions(ctx context.Context, subject string) ([]int, error) {
	return r.client(ctx).GetSchemaVersions(subject)
}

// Version returns one version of the subject, or ErrNotRegistered.
func (r *Registry) Version(ctx context.Context, subject string, version int) (SchemaVersion, error) {
	s, err := r.client(ctx).GetSchemaByVersion(subject, version)
	return schemaVersion(s, err)
}

// Schema returns the schema with the id, or ErrNotRegistered.
func (r *Registry) Schema(ctx context.Context, id shiftsync.SchemaID) (SchemaVersion, error) {
	s, err := r.client(ctx).GetSchema(int(id))
	return schemaVersion(s, err)
}

// Find returns the version of the subject that has this very schema, or ErrNotRegistered.
func (r *Registry) Find(ctx context.Context, subject, schema string) (SchemaVersion, error) {
	s, err := r.client(ctx).LookupSchema(subject, schema, srclient.Avro)
	return schemaVersion(s, err)
}

// Compatible asks whether the schema could become a version of the subject, or ErrNotRegistered if there is no subject.
func (r *Registry) Compatible(ctx context.Context, subject, schema string) (bool, error) {
	return r.client(ctx).IsSchemaCompatible(subject, schema, "latest", srclient.Avro)
}

// Register makes the schema a version of the subject and returns it; its Version is not told. ErrRegistryRefused is
// for good, any other error may pass.
func (r *Registry) Register(ctx context.Context, subject, schema string) (SchemaVersion, error) {
	s, err := r.client(ctx).CreateSchema(subject, schema, srclient.Avro)
	if errors.Is(err, ErrNotRegistered) {
		// srclient reads back what it registered. That this fails must not look like a lack of the subject.
		return SchemaVersion{}, errors.New("not there when read back: " + err.Error())
	}
	return schemaVersion(s, err)
}

// Answered returns when the registry last answered a request, be it with a refusal, and why it did not answer a later
// one, or nil. The time is zero if it never did.
func (r *Registry) Answered() (at time.Time, since error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered, r.silence
}

func (r *Registry) heard(silence error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silence = silence; silence == nil {
		r.answered = time.Now()
	}
}

// client returns an srclient for one call. It takes no context and caches the latest version for ever, so that each
// call gets its own, bound to the context of that call.
func (r *Registry) client(ctx context.Context) *srclient.SchemaRegistryClient {
	bound := roundTrip(func(req *http.Request) (*http.Response, error) { return r.send(req.WithContext(ctx)) })
	return srclient.NewSchemaRegistryClient(r.address, srclient.WithClient(&http.Client{Transport: bound}))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// send is the way to the registry. Until it is refused it shows what was accepted last: a password is not replaced in
// its file and in the registry at the same moment.
func (r *Registry) send(req *http.Request) (*http.Response, error) {
	shown, err := r.lastLogin()
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	resp, refusal := r.attempt(req, shown)
	if !refusesLogin(refusal) {
		return resp, refusal
	}
	fresh, err := r.login()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w; and there are no other credentials: %w", refusal, err)
	case fresh == shown:
		return nil, refusal
	}
	if req.GetBody != nil {
		if req.Body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("form the request again: %w", err)
		}
	}
	return r.attempt(req, fresh)
}

func (r *Registry) lastLogin() (Credentials, error) {
	r.mu.Lock()
	last := r.accepted
	r.mu.Unlock()
	if last != (Credentials{}) {
		return last, nil
	}
	return r.login()
}

func (r *Registry) accept(c Credentials) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted = c
}

// refusesLogin tells whether a registry wants other credentials. Some have but one status for those and for rights.
func refusesLogin(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden)
}

// attempt sends a request once. It reads the answer whole, since srclient reads without a limit, drops the status of
// errors and panics on an answer that is null. What is not a success is an error here, redirects included: they would
// carry the credentials elsewhere, and make a GET of a POST.
func (r *Registry) attempt(req *http.Request, login Credentials) (*http.Response, error) {
	req.Header.Del("Authorization")
	if login.header != "" {
		req.Header.Set("Authorization", login.header)
	}
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		err = unreached(err)
		r.heard(err)
		return nil, err
	}
	r.heard(nil)
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer: %w", err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("answer is larger than %d MiB: %s?", maxAnswer>>20, isItRight)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, newAnswerError(resp.StatusCode, body, login)
	case !isJSON(body):
		return nil, fmt.Errorf("answered %d with something other than a JSON object or list: is this a schema registry?", resp.StatusCode)
	}
	r.accept(login)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

const isItRight = "is AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL (or SCHEMA_REGISTRY_URL) right"

// unreached says which setting may be wrong if there was no answer.
func unreached(err error) error {
	var certificate *tls.CertificateVerificationError
	var network *net.OpError
	isNetwork := errors.As(err, &network)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &certificate), isNetwork && network.Op == "remote error", strings.Contains(err.Error(), "_PROXY names it"):
		return err // of a handshake, or of a proxy: who made the transport says what is wrong
	case isNetwork && network.Op == "proxyconnect":
		return fmt.Errorf("%w; is HTTPS_PROXY (or HTTP_PROXY) right, and the proxy up?", err)
	}
	return fmt.Errorf("%w; %s, and the registry up?", err, isItRight)
}

// isJSON says whether body is an object or a list.
func isJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body)
}

func schemaVersion(s *srclient.Schema, err error) (SchemaVersion, error) {
	var other *json.UnmarshalTypeError
	if errors.As(err, &other) {
		return SchemaVersion{}, fmt.Errorf("answered with something other than a schema: is this a schema registry? %w", err)
	}
	if err != nil {
		return SchemaVersion{}, err
	}
	if s.ID() <= 0 || s.ID() > math.MaxInt32 || s.Schema() == "" {
		return SchemaVersion{}, errors.New("answered without a schema or with an id that cannot be: is this a schema registry?")
	}
	v := SchemaVersion{ID: shiftsync.SchemaID(s.ID()), Version: s.Version(), Schema: s.Schema()}
	if t := s.SchemaType(); t != nil && *t != srclient.Avro && *t != "" {
		v.Foreign = fmt.Sprintf("it is %s, not Avro", *t)
	} else if len(s.References()) > 0 {
		v.Foreign = "it refers to other schemas"
	}
	return v, nil
}

// answerError is an answer of the registry that is not a success.
type answerError struct {
	status  int
	code    int    // the registry's own, more exact than the status; 0: none
	message string // the registry's; may be empty
	shown   string // the settings that the credentials were from; empty: none were shown
}

func newAnswerError(status int, body []byte, login Credentials) *answerError {
	var said struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil { // a proxy's page, of no use in a log
		return &answerError{status: status, shown: login.shown()}
	}
	message := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, said.Message)
	if login.leaksIn(message) {
		message = ""
	}
	if runes := []rune(message); len(runes) > 300 {
		message = string(runes[:300]) + "…"
	}
	return &answerError{status, said.Code, message, login.shown()}
}

// leaksIn says whether a text of the server repeats the credentials.
func (c Credentials) leaksIn(text string) bool {
	_, encoded, _ := strings.Cut(c.header, " ")
	return encoded != "" && strings.Contains(text, encoded) || c.secret != "" && strings.Contains(text, c.secret)
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("%d %s", e.status, http.StatusText(e.status))
	if e.code != 0 && e.code != e.status {
		text += fmt.Sprintf(" (%d)", e.code)
	}
	if e.message != "" {
		text += ": " + e.message
	}
	switch {
	case e.status == http.StatusUnauthorized && e.shown != "":
		text += ": check " + e.shown
	case e.status == http.StatusUnauthorized:
		text += ": it wants a login: set SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, or SCHEMA_REGISTRY_TOKEN"
	case e.status == http.StatusForbidden && e.shown != "":
		text += ": who logs in with " + e.shown + " needs the right to the subjects"
	case e.status == http.StatusForbidden:
		text += ": without a login there is no right to the subjects: set SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, or SCHEMA_REGISTRY_TOKEN"
	case e.ofSomebodyElse():
		text += ": if it speaks TLS, AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL (or SCHEMA_REGISTRY_URL) has to begin with https://"
	case e.status == http.StatusNotFound && !e.Is(ErrNotRegistered):
		text += ": not a registry's answer, check the path in AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL (or SCHEMA_REGISTRY_URL)"
	case e.status >= 300 && e.status < 400:
		text += ": redirects are not followed, set AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL (or SCHEMA_REGISTRY_URL) to where it points"
	}
	return text
}

// ofSomebodyElse tells what servers that are not spoken to as they want say before a registry could. A registry has a code.
func (e *answerError) ofSomebodyElse() bool { return e.status == http.StatusBadRequest && e.code == 0 }

// Is makes the answer known as ErrNotRegistered or ErrRegistryRefused. A 404 without a code of the registry comes from
// a proxy or a wrong path and is neither: it must not be taken for a subject that waits to be registered.
func (e *answerError) Is(target error) bool {
	switch target {
	case ErrNotRegistered:
		return e.status == http.StatusNotFound && e.code >= 40401 && e.code <= 40403
	case ErrRegistryRefused:
		return e.status >= 400 && e.status < 500 && e.status != http.StatusNotFound && !e.ofSomebodyElse() &&
			e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests
	}
	return false
}
