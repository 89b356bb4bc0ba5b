package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// ErrRedis is trouble with Redis, or on the way to it.
var ErrRedis = errors.New("redis")

// serverError is an ErrRedis.
type serverError struct {
	where  string // may be empty, as may the advice
	advice string
	err    error
}

// explain says of an error of the client which server it is about and what can be done.
func explain(client Client, err error) error {
	if err == nil || errors.Is(err, redis.Nil) && !lostSentinels(err) {
		return err
	}
	return &serverError{where(client), advice(client, err), err}
}

func (e *serverError) Error() string {
	text := "redis"
	if e.where != "" {
		text += " at " + e.where
	}
	// What follows these words, in the server's answer to a command that it does not know, is our data.
	said, _, _ := strings.Cut(e.err.Error(), ", with args beginning with")
	// Nor is what the library quotes of an answer that it does not understand: it may be a piece of one that it does.
	if strings.HasPrefix(said, "redis: ") || strings.HasPrefix(said, "strconv.") {
		said, _, _ = strings.Cut(said, `"`)
		said = strings.TrimRight(said, " :=")
	}
	// The library has a line for each Sentinel.
	text += ": " + strings.Join(slices.Compact(strings.Split(strings.TrimPrefix(said, "redis: "), "\n")), ", ")
	if e.advice == "" {
		return text
	}
	return strings.TrimSuffix(text, ".") + "; " + e.advice
}

func (e *serverError) Unwrap() error { return e.err }

// Is makes it an ErrRedis.
func (e *serverError) Is(target error) bool { return target == ErrRedis }

func where(client Client) string {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().Addr
	case *failover:
		return c.where()
	case *redis.ClusterClient:
		return "cluster " + strings.Join(c.Options().Addrs, ",")
	}
	return ""
}

// isRight asks for the setting that says where the client finds its servers.
func isRight(client Client) string {
	switch client.(type) {
	case *failover:
		return "are REDIS_SENTINEL_ADDRS right"
	case *redis.ClusterClient:
		return "are REDIS_CLUSTER_ADDRS right"
	}
	return "is REDIS_HOST right"
}

func advice(client Client, err error) string {
	_, failsOver := client.(*failover)
	_, isCluster := client.(*redis.ClusterClient)
	var network net.Error
	var plain tls.RecordHeaderError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch says := func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) }; {
	case errors.Is(err, context.Canceled):
		return "" // our own doing
	case errors.As(err, &name) && lostSentinels(err):
		return "REDIS_SENTINEL_ADDRS has to name the Sentinels as their certificates do"
	case errors.As(err, &name) && failsOver:
		return "its certificate has to bear what the Sentinels tell: with sentinel announce-hostnames yes, names instead of addresses"
	case errors.As(err, &name) && isCluster:
		return "its certificate has to bear what the nodes tell: with cluster-preferred-endpoint-type hostname, names instead of addresses"
	case errors.As(err, &name):
		return "REDIS_HOST has to name it as its certificate does"
	case errors.As(err, &certificate), isAlert(err):
		return "" // who dialed has said it
	case lostSentinels(err) && redis.IsAuthError(err):
		return "the password of the Sentinels stands in REDIS_SENTINEL_PASSWORD"
	case lostSentinels(err) && errors.Is(err, redis.Nil):
		return "the Sentinels know no master of that name: is REDIS_SENTINEL_MASTER right?"
	case lostSentinels(err) && hasHungUp(err) && !speaksTLS(client):
		return "if the Sentinels speak TLS, REDIS_HOST has to begin with rediss://"
	case lostSentinels(err):
		return "are REDIS_SENTINEL_ADDRS right, and the Sentinels up?"
	case redis.IsAuthError(err), says("invalid password"), says("AUTH "):
		return "user and password stand in REDIS_HOST: redis://user:password@host, or redis://:password@host"
	case redis.IsPermissionError(err):
		return "the user of REDIS_HOST needs the right to scripts, to SCAN, and to all keys slotsync:*"
	case redis.IsOOMError(err):
		return "Redis is full: raise its maxmemory"
	case redis.IsReadOnlyError(err) && failsOver:
		return "this was the master until now: it passes when Sentinel has made another one"
	case redis.IsClusterDownError(err):
		return "a part of the cluster has no master: it passes when there is one again"
	case says("MOVED"):
		return "this is a node of a Redis Cluster: name it in REDIS_CLUSTER_ADDRS"
	case says("ERR This instance has cluster support disabled"):
		return "this is no Redis Cluster: name it in REDIS_HOST instead of REDIS_CLUSTER_ADDRS"
	case redis.IsReadOnlyError(err):
		return "this is a replica: REDIS_HOST has to name its master"
	case redis.IsMasterDownError(err):
		return "this is a replica that has lost its master: REDIS_HOST has to name a master"
	case redis.IsLoadingError(err):
		return "Redis has just started: this passes when it has read its data"
	case says("MISCONF"):
		return "Redis cannot write to its disk: its log says why"
	case redis.IsMaxClientsError(err):
		return "raise its maxclients"
	case errors.As(err, &plain):
		return "REDIS_HOST begins with rediss://: is it meant to?"
	case hasHungUp(err) && !speaksTLS(client):
		return "if it speaks TLS, REDIS_HOST has to begin with rediss://"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &network) && network.Timeout():
		if speaksTLS(client) {
			return "no answer in time: " + isRight(client) + ", does Redis speak TLS there, as the rediss:// of REDIS_HOST says, and is it neither overloaded nor behind a firewall?"
		}
		return "no answer in time: " + isRight(client) + ", and Redis neither overloaded nor behind a firewall?"
	case isAnswer(err):
		return ""
	default:
		return isRight(client) + ", and Redis up?"
	}
}

// isAnswer tells an answer of the server from trouble of the network.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// isAlert tells whether the server has ended a TLS handshake for what it was shown, of which there may be nothing.
func isAlert(err error) bool {
	var told *net.OpError
	return errors.As(err, &told) && told.Op == "remote error"
}

// hasHungUp tells whether the connection was closed where an answer was due.
func hasHungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// speaksTLS tells whether the client does.
func speaksTLS(client Client) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().TLSConfig != nil
	case *failover:
		return c.Options().TLSConfig != nil
	case *redis.ClusterClient:
		return c.Options().TLSConfig != nil
	}
	return false
}
