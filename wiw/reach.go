package wiw

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// whereTo says, where nobody could be reached or who was reached is not who was meant, what may have to be changed:
// often the setting that says where.
func whereTo(err error, setting string) error {
	var network *net.OpError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	isNetwork := errors.As(err, &network)
	switch {
	case isNetwork && network.Op == "proxyconnect":
		return fmt.Errorf("%w; is HTTPS_PROXY (or HTTP_PROXY) right, and the proxy up?", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w; is %s right?", err, setting)
	case errors.As(err, &certificate):
		return fmt.Errorf("%w; if a proxy that reads along has an authority of its own, SSL_CERT_FILE has to name the file with its certificate", err)
	case isNetwork && network.Op == "dial", errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, errSilence):
		return fmt.Errorf("%w; is %s right?", err, setting)
	}
	return err
}

// mayPass says whether there is sense in asking again in a moment, where there was no answer.
func mayPass(err error) verdict {
	var certificate *tls.CertificateVerificationError
	var proxy *proxyError
	if errors.As(err, &certificate) || errors.As(err, &proxy) && proxy.status < 500 {
		return final
	}
	return again
}

// proxyError is what a proxy answered instead of opening the way.
type proxyError struct {
	proxy, host, said string
	status            int
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s opens no way to %s: %s; HTTPS_PROXY names it and its user, and NO_PROXY what is reached without it",
		e.proxy, e.host, e.said)
}

func letThrough(_ context.Context, proxy *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy.Host, req.Host, res.Status, res.StatusCode}
}
