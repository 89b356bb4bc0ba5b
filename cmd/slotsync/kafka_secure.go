package main

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/slotsync/slotsync/publish"
)

// pairs are names and their values.
type pairs map[string]string

// kafkaTLS says how TLS is spoken with brokers, if it is.
func (c *config) kafkaTLS() tlsFiles {
	k := &c.Kafka
	return tlsFiles{
		caSetting: "KAFKA_TLS_CA", certSetting: "KAFKA_TLS_CERT", ca: k.TLSCA, cert: k.TLSCert, key: k.TLSKey, serverName: k.TLSServerName,
		noTLS: ": unset KAFKA_TLS, or give the port of a listener with TLS in KAFKA_BROKERS",
		named: " (KAFKA_BROKERS, and what the brokers advertise), or set KAFKA_TLS_SERVER_NAME",
	}
}

// kafkaLogin returns how to log in at the brokers; nil: not at all.
func (c *config) kafkaLogin() (*publish.Login, error) {
	k := &c.Kafka
	switch k.Mechanism {
	case "":
		return nil, nil
	case "AWS_MSK_IAM":
		return publish.AWSLogin(k.AWSRegion), nil
	case "OAUTHBEARER":
		return publish.OAuthLogin(publish.OAuth{
			TokenURL: k.TokenURL.Reveal(), ClientID: k.ClientID, Secret: k.Secret.Fresh,
			Scopes: strings.Fields(k.Scope), Audience: k.Audience, Extensions: k.Extensions,
			HTTP: c.tokenClient(),
		}), nil
	}
	return publish.PasswordLogin(k.Mechanism, k.Username, k.Password.Fresh)
}

// tokenClient takes the secret nowhere but to the token endpoint.
func (c *config) tokenClient() *http.Client {
	return &http.Client{
		Transport:     courier{c.tokenTLS()},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c *config) tokenTLS() tlsFiles {
	const where = ": is KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL right?"
	return tlsFiles{caSetting: "KAFKA_SASL_OAUTHBEARER_TLS_CA", ca: c.Kafka.TokenCA, noTLS: where, named: where}
}

// validateKafka checks that what secures the way to Kafka goes together.
func (c *config) validateKafka(l *loader) {
	c.validateKafkaTLS(l)
	c.validateKafkaLogin(l)
}

func (c *config) validateKafkaTLS(l *loader) {
	k := &c.Kafka
	for _, part := range []struct {
		field any
		given bool
	}{
		{&k.TLSCA, k.TLSCA.given()},
		{&k.TLSCert, k.TLSCert.given()},
		{&k.TLSKey, k.TLSKey.given()},
		{&k.TLSServerName, k.TLSServerName != ""},
	} {
		if part.given && !k.TLS {
			l.fault(part.field, "is set, but KAFKA_TLS is not true: set it, or unset this")
		}
	}
	if k.TLS {
		l.checkTLS(c.kafkaTLS(), &k.TLSCert, &k.TLSKey)
	}
}

// validateKafkaLogin checks that the mechanism has what it takes, and that nothing is set which it does not use: who
// set that believes in another login.
func (c *config) validateKafkaLogin(l *loader) {
	k := &c.Kafka
	if l.isWrong(&k.Mechanism) {
		return
	}
	password := []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
	oauth, aws := []string{"OAUTHBEARER"}, []string{"AWS_MSK_IAM"}
	for _, part := range []struct {
		field  any
		given  bool
		with   []string // mechanisms
		needed string   // what it is; empty: it may be left out
	}{
		{&k.Username, k.Username != "", password, "the user"},
		{&k.Password, !k.Password.Empty(), password, "the user's password"},
		{&k.TokenURL, k.TokenURL.Reveal() != "", oauth, "the URL of the token endpoint"},
		{&k.ClientID, k.ClientID != "", oauth, "the client id"},
		{&k.Secret, !k.Secret.Empty(), oauth, "the client's secret"},
		{&k.Scope, k.Scope != "", oauth, ""},
		{&k.Audience, k.Audience != "", oauth, ""},
		{&k.Extensions, len(k.Extensions) > 0, oauth, ""},
		{&k.TokenCA, k.TokenCA.given(), oauth, ""},
		{&k.AWSRegion, k.AWSRegion != "", aws, ""},
	} {
		used := slices.Contains(part.with, k.Mechanism)
		switch {
		case used && !part.given && part.needed != "":
			l.fault(part.field, "is not set: KAFKA_SASL_MECHANISM "+k.Mechanism+" needs "+part.needed)
		case part.given && k.Mechanism == "":
			l.fault(part.field, "is set, but KAFKA_SASL_MECHANISM is not: set it to "+strings.Join(part.with, ", "))
		case part.given && !used:
			l.fault(part.field, "does not go with KAFKA_SASL_MECHANISM "+k.Mechanism+": unset it")
		}
	}
	if k.TokenCA.given() {
		l.checkTLS(c.tokenTLS(), nil, nil)
	}
	if k.TokenURL.inTheClear() {
		l.warn("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL is http: the client's secret and the tokens can be read on the way")
	}
	c.validateLoginInTheClear(l)
}

func (c *config) validateLoginInTheClear(l *loader) {
	k := &c.Kafka
	if k.TLS || l.isWrong(&k.TLS) || !slices.ContainsFunc(k.Brokers, remote) {
		return
	}
	switch k.Mechanism {
	case "PLAIN":
		l.warn("KAFKA_SASL_MECHANISM is PLAIN and KAFKA_TLS is not true: KAFKA_PASSWORD can be READ BY ANYBODY ON THE WAY, and all shifts too; set KAFKA_TLS=true")
	case "OAUTHBEARER":
		l.warn("KAFKA_SASL_MECHANISM is OAUTHBEARER and KAFKA_TLS is not true: the token can be READ BY ANYBODY ON THE WAY, and all shifts too; set KAFKA_TLS=true")
	case "AWS_MSK_IAM":
		l.fault(&k.TLS, "is not true: MSK takes KAFKA_SASL_MECHANISM AWS_MSK_IAM over TLS only, usually on port 9098")
	}
}

// remote tells whether host:port is on another machine.
func remote(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}
