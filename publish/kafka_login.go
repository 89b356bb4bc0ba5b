package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Login is how to log in at a broker: what PasswordLogin, OAuthLogin or AWSLogin return. What it takes is asked for
// with each connection, so that secrets may be replaced under way.
type Login struct {
	mechanism string // as people set it
	look      string // what to look at when it is refused
	patience  time.Duration
	start     func(ctx context.Context, host string) (sasl.Mechanism, error)
	secret    func() (string, error) // what start shows, or shows to get it; nil: it is not known

	// forget drops what is kept of earlier logins, and tells whether the one that was refused was made with it: then
	// the next one may go better. nil: nothing is kept.
	forget func() (kept bool)
	hold   hold
}

// PasswordLogin logs in with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. The password is asked for with each connection.
func PasswordLogin(mechanism, user string, password func() (string, error)) (*Login, error) {
	limited := func(algorithm scram.Algorithm) func(user, password string) (sasl.Mechanism, error) {
		return func(user, password string) (sasl.Mechanism, error) {
			m, err := scram.Mechanism(algorithm, user, password)
			return boundedSCRAM{m}, err
		}
	}
	create, known := map[string]func(user, password string) (sasl.Mechanism, error){
		"PLAIN": func(user, password string) (sasl.Mechanism, error) {
			return plain.Mechanism{Username: user, Password: password}, nil
		},
		"SCRAM-SHA-256": limited(scram.SHA256),
		"SCRAM-SHA-512": limited(scram.SHA512),
	}[mechanism]
	if !known {
		return nil, fmt.Errorf("mechanism %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", mechanism)
	}
	return &Login{
		mechanism: mechanism,
		look:      "look at KAFKA_USERNAME and KAFKA_PASSWORD",
		secret:    password,
		start: func(context.Context, string) (sasl.Mechanism, error) {
			secret, err := password()
			if err != nil {
				return nil, err
			}
			m, err := create(user, secret)
			if err != nil {
				return nil, errors.New("KAFKA_USERNAME or KAFKA_PASSWORD has a character that SCRAM does not take") // the cause quotes it
			}
			return m, nil
		},
	}, nil
}

// loginError says why there was no login.
type loginError struct {
	text   string
	err    error
	passes bool // by itself, maybe; else somebody has to mend something
}

func (e *loginError) Error() string { return e.text }
func (e *loginError) Unwrap() error { return e.err }

// held is what was said at the last login, if it is not yet time for another one.
func (l *Login) held() error {
	secret, err := l.shown()
	if err != nil {
		return nil // which start will say
	}
	return l.hold.refusal(secret)
}

func (l *Login) shown() (string, error) {
	if l.secret == nil {
		return "", nil
	}
	return l.secret()
}

// in logs in over a connection on which nothing was said yet, and returns for how long that lasts; 0: without end.
// Until the broker has greeted, opening bounds it: it need not be one.
func (l *Login) in(ctx, opening context.Context, conn net.Conn, clientID, address string) (lasts time.Duration, err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("address %q: %w", address, err)
	}
	c := protocol.NewConn(conn, clientID)
	if err := bounded(opening, conn, func() error { _, err := greet(c); return err }); err != nil {
		return 0, err
	}
	if err := l.held(); err != nil { // by a login that was under way when this one began
		return 0, err
	}
	secret, _ := l.shown() // that start will meet again, or a newer one, for which a hold is no obstacle
	mechanism, err := l.prepare(ctx, host)
	if err != nil {
		return 0, l.failed(secret, err)
	}
	within, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	err = bounded(within, conn, func() error { lasts, err = l.talk(within, c, mechanism, secret); return err })
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, &loginError{fmt.Sprintf("login with %s: no answer of the broker within %s", l.mechanism, loginPatience), nil, true}
	}
	return lasts, err
}

func (l *Login) prepare(ctx context.Context, host string) (sasl.Mechanism, error) {
	if l.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.patience)
		defer cancel()
	}
	return l.start(ctx, host)
}

// talk is what is said once it is known what to say.
func (l *Login) talk(ctx context.Context, c *protocol.Conn, mechanism sasl.Mechanism, secret string) (time.Duration, error) {
	m, err := c.RoundTrip(&saslhandshake.Request{Mechanism: mechanism.Name()})
	if err != nil {
		return 0, l.hungUp(err)
	}
	if res := m.(*saslhandshake.Response); res.ErrorCode != 0 {
		return 0, l.unoffered(kafka.Error(res.ErrorCode), res.Mechanisms)
	}
	began := time.Now()
	exchange, message, err := mechanism.Start(ctx)
	var lasts time.Duration
	for done := false; err == nil && !done; {
		if m, err = c.RoundTrip(&saslauthenticate.Request{AuthBytes: message}); err != nil {
			return 0, l.hungUp(err)
		}
		res := m.(*saslauthenticate.Response)
		if res.ErrorCode != 0 {
			return 0, l.refused(secret, kafka.Error(res.ErrorCode)) // without the broker's words, which may repeat what was sent
		}
		lasts = time.Duration(max(res.SessionLifetimeMs, 0)) * time.Millisecond
		done, message, err = exchange.Next(ctx, res.AuthBytes)
	}
	if errors.Is(err, errTooManyRounds) {
		return 0, &loginError{fmt.Sprintf("login with %s: %s", l.mechanism, err), err, false}
	}
	if err != nil {
		// The broker took part to the end and does not know the password either: SCRAM proves both sides to each other.
		return 0, &loginError{fmt.Sprintf("login with %s: the broker does not prove that it knows the password: %s", l.mechanism, l.look), err, false}
	}
	l.hold.accepted()
	if lasts > 0 {
		lasts -= time.Since(began) // counted from before it was asked for
		lasts = max(lasts, time.Millisecond)
	}
	return lasts, nil
}

// greet asks a broker for the versions of its requests, and takes them over.
func greet(c *protocol.Conn) ([]apiversions.ApiKeyResponse, error) {
	m, err := c.RoundTrip(&apiversions.Request{})
	if err != nil {
		return nil, fmt.Errorf("api versions: %w", err)
	}
	answer := m.(*apiversions.Response)
	if answer.ErrorCode != 0 {
		return nil, fmt.Errorf("api versions: %w", kafka.Error(answer.ErrorCode))
	}
	versions := make(map[protocol.ApiKey]int16, len(answer.ApiKeys))
	for _, a := range answer.ApiKeys {
		key := protocol.ApiKey(a.ApiKey)
		versions[key] = key.SelectVersion(a.MinVersion, a.MaxVersion)
	}
	c.SetVersions(versions)
	return answer.ApiKeys, nil
}

// failed is about what never came to the broker: a file that cannot be read, a token that nobody hands out.
func (l *Login) failed(secret string, err error) error {
	var network net.Error
	refused, insecure := errors.Is(err, ErrRefused), mustBeMended(err)
	passes := !refused && !insecure &&
		(errors.Is(err, context.Canceled) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, errUnavailable))
	text := fmt.Sprintf("login with %s: %s", l.mechanism, strings.ReplaceAll(err.Error(), "\n", " "))
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // else it would be taken for a broker that does not answer
	}
	told := &loginError{text, err, passes}
	switch {
	case refused:
		l.hold.refused(secret, told, lastHold)
	case insecure:
		l.hold.refused(secret, told, firstHold) // which locks no account
	}
	return told
}

func (l *Login) refused(secret string, code kafka.Error) error {
	kept := l.forget != nil && l.forget()
	why := ""
	if code != kafka.SASLAuthenticationFailed {
		why = " (" + code.Title() + ")"
	}
	err := &loginError{fmt.Sprintf("the broker refused the login with %s%s: %s", l.mechanism, why, l.look), code, false}
	if !kept {
		l.hold.refused(secret, err, lastHold)
	}
	return err
}

func (l *Login) unoffered(code kafka.Error, offered []string) error {
	text := fmt.Sprintf("the broker answers the login with %s: %s", l.mechanism, code.Title())
	switch {
	case code == kafka.UnsupportedSASLMechanism && len(offered) > 0:
		slices.Sort(offered)
		text = fmt.Sprintf("the broker offers %s on this listener, but not %s: change KAFKA_SASL_MECHANISM, or the port in KAFKA_BROKERS",
			strings.Join(offered, ", "), l.mechanism)
	case code == kafka.UnsupportedSASLMechanism:
		text = fmt.Sprintf("the broker does not offer %s on this listener: change KAFKA_SASL_MECHANISM, or the port in KAFKA_BROKERS", l.mechanism)
	case code == kafka.IllegalSASLState:
		text = fmt.Sprintf("the broker takes no login on this listener, and so none with %s: unset KAFKA_SASL_MECHANISM, or change the port in KAFKA_BROKERS", l.mechanism)
	}
	return &loginError{text, code, false}
}

// hungUp is about a broker that says nothing more in the middle of a login. It may be one that is ending, so this is
// worth another try; but some refuse a password in this way.
func (l *Login) hungUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if l.forget != nil {
			l.forget()
		}
		return &loginError{fmt.Sprintf("the broker hung up at the login with %s, as some do that refuse it: %s", l.mechanism, l.look), err, true}
	}
	return fmt.Errorf("login with %s: %w", l.mechanism, err)
}

// bearer is OAUTHBEARER (RFC 7628).
type bearer struct {
	token      string
	extensions map[string]string
}

func (bearer) Name() string { return "OAUTHBEARER" }

func (b bearer) Start(context.Context) (sasl.StateMachine, []byte, error) {
	const separator = "\x01"
	message := "n,," + separator + "auth=Bearer " + b.token + separator
	for _, name := range slices.Sorted(maps.Keys(b.extensions)) {
		message += name + "=" + b.extensions[name] + separator
	}
	return bearerExchange{}, []byte(message + separator), nil
}

type bearerExchange struct{}

// Next ends the exchange, unless the broker said why it refuses: that has to be acknowledged, and then comes its error.
func (bearerExchange) Next(_ context.Context, challenge []byte) (done bool, answer []byte, err error) {
	return len(challenge) == 0, []byte("\x01"), nil
}
