package main

import (
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/slotsync/slotsync/cache"
)

func newRedis(cfg *config, log *slog.Logger) (cache.Client, error) {
	c := cfg.redis()
	c.Warn = func(text string) { log.Warn("redis", "warning", text) }
	return cache.Dial(c)
}

// redis says where Redis is, and how to come in.
func (c *config) redis() cache.Config {
	r := &c.Redis
	return cache.Config{
		URL:      r.URL.Reveal(),
		Fresh:    r.URL.Fresh,
		Sentinel: cache.Sentinel{Master: r.Master, Addrs: r.Sentinels, Password: r.SentinelPassword.Fresh},
		Cluster:  r.Cluster,
		DialTLS:  c.redisTLS().dial,
	}
}

func (c *config) redisTLS() tlsFiles {
	r := &c.Redis
	return tlsFiles{caSetting: "REDIS_TLS_CA", certSetting: "REDIS_TLS_CERT", ca: r.CA, cert: r.Cert, key: r.Key}
}

// validateRedis checks that there is one way to find Redis, and that what is given for the way is of use there.
func (c *config) validateRedis(l *loader) {
	r := &c.Redis
	master, sentinels := r.Master != "", len(r.Sentinels) > 0
	switch {
	case master && !sentinels:
		l.fault(&r.Sentinels, "is not set: give some Sentinels that watch REDIS_SENTINEL_MASTER, as a comma list of host:port")
	case sentinels && !master:
		l.fault(&r.Master, "is not set: give the name of the master, which often is mymaster")
	case !r.SentinelPassword.Empty() && !master:
		l.fault(&r.SentinelPassword, "goes with REDIS_SENTINEL_MASTER; the password of a server stands in REDIS_HOST")
	}
	if len(r.Cluster) > 0 && (master || sentinels) {
		l.fault(&r.Cluster, "does not go with REDIS_SENTINEL_MASTER and REDIS_SENTINEL_ADDRS: a Redis Cluster watches itself")
	}
	if l.isWrong(&r.URL) {
		return
	}
	if err := c.redis().CheckURL(); err != nil {
		l.fault(&r.URL, err.Error())
		return
	}
	c.warnOfRedisInTheClear(l)
	why := ""
	switch at := r.URL.String(); {
	case strings.HasPrefix(at, "unix://"):
		why = "does not go with the socket that REDIS_HOST names"
	case !strings.HasPrefix(at, "rediss://"):
		why = "goes with TLS, for which REDIS_HOST has to begin with rediss://"
	case c.redis().Unverified():
		l.warn("REDIS_HOST says skip_verify: whoever stands between here and Redis can read and change all that is kept; give the authority of its certificate in REDIS_TLS_CA instead")
		why = "does not go with the skip_verify of REDIS_HOST, which trusts anybody: take that out"
	}
	l.validateTLS(why, c.redisTLS(), &r.CA, &r.Cert, &r.Key)
}

// warnOfRedisInTheClear warns of passwords that others can read on their way to another machine.
func (c *config) warnOfRedisInTheClear(l *loader) {
	r := &c.Redis
	u, err := url.Parse(r.URL.Reveal())
	if err != nil || u.Scheme != "redis" {
		return
	}
	addresses := []string{net.JoinHostPort(u.Hostname(), u.Port())}
	if len(r.Sentinels)+len(r.Cluster) > 0 {
		addresses = slices.Concat(r.Sentinels, r.Cluster)
	}
	if !slices.ContainsFunc(addresses, remote) {
		return
	}
	whose := ""
	if _, has := u.User.Password(); has {
		whose = "the password in it"
	} else if !r.SentinelPassword.Empty() {
		whose = "REDIS_SENTINEL_PASSWORD"
	}
	if whose != "" {
		l.warn("%s begins with redis://: %s can be read on the way, and all that is kept too; where the server speaks TLS, give rediss://", l.nameOf(l.setting(&r.URL)), whose)
	}
}

// validateTLS checks three settings that make f, or says of each one that is set why it is of no use.
func (l *loader) validateTLS(useless string, f tlsFiles, ca, cert, key *pemSource) {
	if useless == "" {
		l.checkTLS(f, cert, key)
		return
	}
	for _, setting := range []*pemSource{ca, cert, key} {
		if setting.given() {
			l.fault(setting, useless)
		}
	}
}
