package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// ErrRedis is trouble with Redis, or on the way to it. What it is about is a *ServerError.
var ErrRedis = errors.New("redis")

// ServerError is an ErrRedis.
type ServerError struct {
	Advice string // what can be done; may be empty
	// Answered tells that Advice is about what servers said. Otherwise none did, and it asks for settings.
	Answered bool

	where string // may be empty
	err   error
}

// explain says of an error of the client which server it is about and what can be done.
func explain(client Client, err error) error {
	if err == nil || errors.Is(err, redis.Nil) && !lostSentinels(err) {
		return err
	}
	told, answered := advice(client, err)
	return &ServerError{told, answered, where(client), err}
}

func (e *ServerError) Error() string {
	if e.Advice == "" {
		return e.Trouble()
	}
	return strings.TrimSuffix(e.Trouble(), ".") + "; " + e.Advice
}

// Trouble is the error without the advice.
func (e *ServerError) Trouble() string {
	text := "redis"
	if e.where != "" {
		text += " at " + e.where
	}
	// What follows these words, in the server's answer to a command that it does not know, is our data.
	said, _, _ := strings.Cut(e.err.Error(), ", with args beginning with")
	switch _, each, lost := strings.Cut(said, unreachable); {
	case lost && errors.Is(e.err, redis.Nil):
		said = "the Sentinels know no master of that name"
	case lost:
		said = "no Sentinel tells of it" + each
	case strings.HasPrefix(said, "redis: "), strings.HasPrefix(said, "strconv."):
		// What the library quotes of an answer that it does not understand may be a piece of one that it does.
		said, _, _ = strings.Cut(said, `"`)
		said = strings.TrimRight(said, " :=")
	}
	// The library has a line for each Sentinel.
	return text + ": " + strings.Join(slices.Compact(strings.Split(strings.TrimPrefix(said, "redis: "), "\n")), ", ")
}

func (e *ServerError) Unwrap() error { return e.err }

// Is makes it an ErrRedis.
func (e *ServerError) Is(target error) bool { return target == ErrRedis }

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

// words are what is said of troubles that mean something else by the way in which servers are found.
type words struct {
	isRight   string // asks for the setting that says where they are
	otherName string // a certificate is for another server
	replica   string // the server takes no writes
	orphan    string // nor does it read
	moved     string // it knows who else keeps the keys
	down      string // it knows that nobody keeps some
}

func wordsFor(client Client) words {
	switch client.(type) {
	case *failover:
		const nodes = "these are nodes of a Redis Cluster, which Sentinel does not watch: name them in REDIS_CLUSTER_ADDRS instead"
		return words{
			isRight:   "are REDIS_SENTINEL_ADDRS right",
			otherName: "its certificate has to bear what the Sentinels tell: with sentinel announce-hostnames yes, names instead of addresses",
			replica:   "this was the master until now: it passes when Sentinel has made another one",
			orphan:    "this was the master until now, and knows of no other: it passes when Sentinel has made one",
			moved:     nodes,
			down:      nodes,
		}
	case *redis.ClusterClient:
		return words{
			isRight:   "are REDIS_CLUSTER_ADDRS right",
			otherName: "its certificate has to bear what the nodes tell: with cluster-preferred-endpoint-type hostname, names instead of addresses",
			replica:   "this was the master of its part of the cluster until now: it passes when all know of the new one",
			orphan:    "this was the master of its part of the cluster until now, and knows of no other: it passes when there is one",
			moved:     "the nodes do not agree on which of them keeps it: it passes when they do",
			down:      "a part of the cluster has no master: it passes when there is one again",
		}
	}
	return words{
		isRight:   "is REDIS_HOST right",
		otherName: "REDIS_HOST has to name it as its certificate does",
		replica:   "this is a replica: REDIS_HOST has to name its master",
		orphan:    "this is a replica that has lost its master: REDIS_HOST has to name a master",
		moved:     "this is a node of a Redis Cluster: name it in REDIS_CLUSTER_ADDRS",
		down:      "this is a node of a Redis Cluster, of which a part has no master: name it in REDIS_CLUSTER_ADDRS, and see that there is one again",
	}
}

// advice returns what can be done about an error, and whether that is about what servers said.
func advice(client Client, err error) (text string, answered bool) {
	_, failsOver := client.(*failover)
	lost := lostSentinels(err)
	told := wordsFor(client)
	var network net.Error
	var way *net.OpError
	var plain tls.RecordHeaderError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch says := func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) }; {
	case errors.Is(err, context.Canceled):
		return "", false // our own doing
	case errors.As(err, &name) && lost:
		return "REDIS_SENTINEL_ADDRS has to name the Sentinels as their certificates do", false
	case errors.As(err, &name):
		return told.otherName, false
	case errors.As(err, &certificate), isAlert(err):
		return "", false // who dialed has said it
	case lost && redis.IsAuthError(err):
		return "the password of the Sentinels stands in REDIS_SENTINEL_PASSWORD", true
	case lost && errors.Is(err, redis.Nil):
		return "REDIS_SENTINEL_MASTER has to be a name that stands in their configuration, which often is mymaster", true
	case lost && hasHungUp(err) && !speaksTLS(client):
		return "if the Sentinels speak TLS, REDIS_HOST has to begin with rediss://", false
	case lost:
		return told.isRight + ", and the Sentinels up?", false
	case redis.IsAuthError(err), says("invalid password"), says("AUTH "):
		return "user and password stand in REDIS_HOST: redis://user:password@host, or redis://:password@host", true
	case redis.IsPermissionError(err):
		return "the user of REDIS_HOST needs the right to scripts, to SCAN, and to all keys slotsync:*", true
	case redis.IsOOMError(err):
		return "Redis is full: raise its maxmemory", true
	case redis.IsReadOnlyError(err):
		return told.replica, true
	case redis.IsMasterDownError(err):
		return told.orphan, true
	case says("NOREPLICAS"):
		return "fewer replicas follow this master than its min-replicas-to-write asks for: bring them back, or lower it", true
	case redis.IsClusterDownError(err):
		return told.down, true
	case says("MOVED"):
		return told.moved, true
	case says("ASK"), says("TRYAGAIN"):
		return "keys are being moved from one node of the cluster to another: it passes when that is done", true
	case says("This instance has cluster support disabled"):
		return "this is a single server, no Redis Cluster: name it in REDIS_HOST instead of REDIS_CLUSTER_ADDRS", true
	case redis.IsLoadingError(err):
		return "Redis has just started: this passes when it has read its data", true
	case says("MISCONF"):
		return "Redis cannot write to its disk: its log says why", true
	case redis.IsMaxClientsError(err):
		return "raise its maxclients", true
	case errors.As(err, &plain):
		return "REDIS_HOST begins with rediss://: is it meant to?", false
	case hasHungUp(err) && !speaksTLS(client):
		return "if it speaks TLS, REDIS_HOST has to begin with rediss://", false
	case failsOver && (errors.As(err, &way) || errors.Is(err, os.ErrDeadlineExceeded)):
		return "the Sentinels answer and name this master, which does not: it passes when it does, or when they have made another one", true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &network) && network.Timeout():
		if speaksTLS(client) {
			return "no answer in time: " + told.isRight + ", does Redis speak TLS there, as the rediss:// of REDIS_HOST says, and is it neither overloaded nor behind a firewall?", false
		}
		return "no answer in time: " + told.isRight + ", and Redis neither overloaded nor behind a firewall?", false
	case isAnswer(err):
		return "", true
	default:
		return told.isRight + ", and Redis up?", false
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
