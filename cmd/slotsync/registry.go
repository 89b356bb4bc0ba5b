package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/slotsync/slotsync/publish"
)

func newRegistry(cfg *config) (*publish.Registry, error) {
	registry, err := publish.NewRegistry(cfg.Registry.URL.Reveal(), publish.RegistryOptions{
		Login:     cfg.registryLogin,
		Transport: courier{cfg.registryTLS()},
	})
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	return registry, nil
}

// registryLogin is what the registry is to be shown, as the settings say now.
func (c *config) registryLogin() (publish.Credentials, error) {
	from := c.registryLoginFrom()
	switch r := &c.Registry; {
	case r.Username != "":
		password, err := r.Password.Fresh()
		return publish.BasicCredentials(r.Username, password).From(from), err
	case !r.Token.Empty():
		token, err := r.Token.Fresh()
		return publish.BearerCredentials(token).From(from), err
	}
	user, err := c.registryUser()
	if err != nil || user == nil {
		return publish.Credentials{}, err
	}
	password, _ := user.Password()
	return publish.BasicCredentials(user.Username(), password).From(from), nil
}

// registryLoginFrom names the settings that the login at the registry is from; "" if there is none.
func (c *config) registryLoginFrom() string {
	switch r := &c.Registry; {
	case r.Username != "":
		return "SCHEMA_REGISTRY_USERNAME and " + r.Password.from("SCHEMA_REGISTRY_PASSWORD")
	case !r.Token.Empty():
		return r.Token.from("SCHEMA_REGISTRY_TOKEN")
	case r.URL.hasUser():
		return "the user and password in " + c.registryFrom
	}
	return ""
}

// registryUser is the one in the URL of the registry; nil: there is none.
func (c *config) registryUser() (*url.Userinfo, error) {
	address, err := c.Registry.URL.Fresh()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return nil, errors.New(c.registryFrom + " cannot be read any more as a URL")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if newEndpoint(u).String() != c.Registry.URL.String() {
		return nil, errors.New(c.registryFrom + " names another registry by now: start again to go there")
	}
	return u.User, nil
}

func (c *config) registryTLS() tlsFiles {
	r := &c.Registry
	return tlsFiles{
		caSetting: "SCHEMA_REGISTRY_TLS_CA", certSetting: "SCHEMA_REGISTRY_TLS_CERT", ca: r.CA, cert: r.Cert, key: r.Key,
		named: " (" + c.registryFrom + ")",
	}
}

// validateRegistry checks that there is one way to log in, and that what is given for TLS is of use.
func (c *config) validateRegistry(l *loader) {
	r := &c.Registry
	user, password, token := r.Username != "", !r.Password.Empty(), !r.Token.Empty()
	switch {
	case user && !password:
		l.fault(&r.Username, "has no password: set SCHEMA_REGISTRY_PASSWORD too")
	case password && !user:
		l.fault(&r.Password, "has no user: set SCHEMA_REGISTRY_USERNAME too")
	case user && token:
		l.fault(&r.Token, "is set beside a user and password: keep one of the two")
	}
	if l.isWrong(&r.URL) || r.URL.Reveal() == "" {
		return
	}
	inURL, _ := c.registryUser() // it was read just now
	switch {
	case inURL != nil && user:
		l.fault(&r.Username, "is set beside a user in the URL of the registry: keep one of the two")
	case inURL != nil && token:
		l.fault(&r.Token, "is set beside a user in the URL of the registry: keep one of the two")
	}
	if (inURL != nil || user || token) && r.URL.inTheClear() {
		l.warn("%s is http: what logs in there can be read on the way", c.registryFrom)
	}
	useless := ""
	if !strings.HasPrefix(r.URL.String(), "https://") {
		useless = "goes with TLS, for which the URL of the registry has to begin with https://"
	}
	l.validateTLS(useless, c.registryTLS(), &r.CA, &r.Cert, &r.Key)
}

// courier carries few requests over HTTP, each over a connection of its own, so that certificates may be replaced. It
// passes by a proxy where the environment names one.
type courier struct{ files tlsFiles }

var _ http.RoundTripper = courier{}

func (c courier) RoundTrip(req *http.Request) (*http.Response, error) {
	config, err := c.files.config(req.URL.Hostname())
	if err != nil {
		return nil, err
	}
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, err
	}
	once := &http.Transport{
		Proxy: http.ProxyURL(proxy), OnProxyConnectResponse: letThrough,
		TLSClientConfig: config, DisableKeepAlives: true,
	}
	if proxy != nil {
		once.DialTLSContext = dialProxy // a proxy is no server of those that files are for
	}
	res, err := once.RoundTrip(req)
	switch {
	case err == nil:
		return carriedBy(proxy, req, res)
	case isOfProxy(err):
		return nil, explainProxy(proxy, err)
	case req.URL.Scheme == "https" && !errors.Is(err, io.EOF): // who hangs up later spoke TLS
		return nil, c.files.explain(err)
	}
	return nil, err
}
