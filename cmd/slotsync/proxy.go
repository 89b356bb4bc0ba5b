package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slotsync/slotsync/publish"
)

// validateProxies checks the variables of proxies, which the standard library reads for HTTP: it would quote a bad one,
// password and all, with each request.
func validateProxies(l *loader) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		text := l.getenv(name)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil || !isHost(u.Hostname()) || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
			l.faultOf(name, "must be a proxy like http://[user:password@]host:port, with special characters of the password percent-encoded")
		}
	}
}

// proxyError is what a proxy answered instead of opening the way, or carrying a request.
type proxyError struct {
	text   string
	status int
}

func (e *proxyError) Error() string { return e.text }

// Is makes it a publish.ErrRefused, unless it may pass.
func (e *proxyError) Is(target error) bool { return target == publish.ErrRefused && e.status < 500 }

// letThrough turns what a proxy answers instead of opening the way into an error that an operator understands.
func letThrough(_ context.Context, proxy *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{fmt.Sprintf("the proxy %s opens no way to %s: %s; HTTPS_PROXY names it and its user, and NO_PROXY what is reached without it",
		proxy.Host, req.Host, res.Status), res.StatusCode}
}

// carriedBy returns the server's answer, or the error that it is none: a request that is not encrypted, the proxy reads
// and may answer itself.
func carriedBy(proxy *url.URL, req *http.Request, res *http.Response) (*http.Response, error) {
	if proxy == nil || req.URL.Scheme != "http" || res.StatusCode != http.StatusProxyAuthRequired {
		return res, nil
	}
	_ = res.Body.Close()
	return nil, &proxyError{fmt.Sprintf("the proxy %s carries nothing to %s: %s; HTTP_PROXY names it and its user, and NO_PROXY what is reached without it",
		proxy.Host, req.URL.Host, res.Status), res.StatusCode}
}

// dialProxy connects to a proxy behind https://, which has to have a certificate that the system trusts.
func dialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	return (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, network, address)
}

// isOfProxy tells whether err says that the proxy could not be reached.
func isOfProxy(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "proxyconnect"
}

// explainProxy says which variable to look at when the certificate of a proxy is none that is trusted.
func explainProxy(proxy *url.URL, err error) error {
	var authority x509.UnknownAuthorityError
	if errors.As(err, &authority) {
		return fmt.Errorf("the certificate of the proxy %s, which HTTPS_PROXY names, is signed by an authority that is not known here: SSL_CERT_FILE has to name the file with its certificate: %w", proxy.Host, err)
	}
	return err
}
