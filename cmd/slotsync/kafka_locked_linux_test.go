package main

import (
	"cmp"
	"context"
	"crypto"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish/publishtest"
)

// lockedKafka is a real broker, as a process of this test, with a listener for each way to secure it.
type lockedKafka struct {
	authority *authority
	idp       *idp
	addrs     map[string]string // listener to host:port
	admin     *kgo.Client       // over ADMIN, which asks nothing
	log       *logged           // of the broker
}

// expired is what the broker's log has of a connection that was used for longer than its session lasts.
const expired = "Disconnecting expired channel"

const (
	annsPassword   = "hush-hush" // over PLAIN
	clerksPassword = "pst-pst"   // over SCRAM
	sessionLasts   = 15 * time.Second
)

// startLockedKafka starts a broker with Kafka's jars. Whoever comes over ADMIN, TLS or MTLS, ann and robot may do
// everything; clerk only what is granted.
func startLockedKafka(t *testing.T) *lockedKafka {
	t.Helper()
	jars := fromStack(t, "SLOTSYNC_TEST_KAFKA_JARS")
	dir := t.TempDir()
	k := &lockedKafka{authority: newAuthority(t, "an authority"), idp: newIDP(t), addrs: map[string]string{}, log: newLogged()}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		replace(t, path, content)
		return path
	}
	listeners := []struct{ name, protocol string }{
		{"ADMIN", "PLAINTEXT"}, {"CONTROLLER", "PLAINTEXT"}, {"TLS", "SSL"}, {"MTLS", "SSL"}, {"EXPIRED", "SSL"}, {"ELSEWHERE", "SSL"},
		{"LOCKED", "SASL_SSL"}, {"CLEAR", "SASL_PLAINTEXT"},
	}
	var kinds, binds, tells []string
	for _, l := range listeners {
		k.addrs[l.name] = quietAddr(t)
		kinds = append(kinds, l.name+":"+l.protocol)
		binds = append(binds, l.name+"://"+k.addrs[l.name])
		if l.name != "CONTROLLER" {
			tells = append(tells, l.name+"://"+k.addrs[l.name])
		}
	}
	var settings strings.Builder
	set := func(format string, args ...any) { fmt.Fprintf(&settings, format+"\n", args...) }
	set("process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\ninter.broker.listener.name=ADMIN")
	set("controller.quorum.voters=1@%s", k.addrs["CONTROLLER"])
	set("listener.security.protocol.map=%s\nlisteners=%s\nadvertised.listeners=%s", strings.Join(kinds, ","), strings.Join(binds, ","), strings.Join(tells, ","))
	set("log.dirs=%s", filepath.Join(dir, "log"))
	set("offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1")
	set("transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\nauto.create.topics.enable=false\nnum.network.threads=1\nnum.io.threads=2")
	set("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS;User:CN=slotsync;User:ann;User:robot")

	keystore := func(listener string, ends time.Time, host string) {
		cert, key := k.authority.signed("kafka", ends, host)
		name := strings.ToLower(listener)
		set("listener.name.%s.ssl.keystore.type=PEM\nlistener.name.%s.ssl.keystore.location=%s", name, name, write(name+".pem", key+cert))
	}
	keystore("TLS", tomorrow(), "127.0.0.1")
	keystore("MTLS", tomorrow(), "127.0.0.1")
	keystore("LOCKED", tomorrow(), "127.0.0.1")
	keystore("EXPIRED", time.Now().Add(-time.Hour), "127.0.0.1")
	keystore("ELSEWHERE", tomorrow(), "kafka.example")
	set("listener.name.mtls.ssl.client.auth=required\nlistener.name.mtls.ssl.truststore.type=PEM\nlistener.name.mtls.ssl.truststore.location=%s", write("ca.pem", read(t, k.authority.path)))

	const logins = "org.apache.kafka.common.security."
	set("listener.name.clear.sasl.enabled.mechanisms=PLAIN\nlistener.name.locked.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER")
	for _, name := range []string{"clear", "locked"} {
		set(`listener.name.%s.plain.sasl.jaas.config=%splain.PlainLoginModule required user_ann="%s";`, name, logins, annsPassword)
	}
	for _, bits := range []string{"256", "512"} {
		set("listener.name.locked.scram-sha-%s.sasl.jaas.config=%sscram.ScramLoginModule required;", bits, logins)
		set("listener.name.locked.scram-sha-%s.connections.max.reauth.ms=%d", bits, sessionLasts.Milliseconds())
	}
	set("listener.name.locked.oauthbearer.sasl.jaas.config=%soauthbearer.OAuthBearerLoginModule required;", logins)
	set("listener.name.locked.oauthbearer.sasl.server.callback.handler.class=%soauthbearer.OAuthBearerValidatorCallbackHandler", logins)
	set("listener.name.locked.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=%s/jwks", k.idp.URL)
	set("listener.name.locked.oauthbearer.sasl.oauthbearer.expected.issuer=%s\nlistener.name.locked.oauthbearer.sasl.oauthbearer.expected.audience=kafka", k.idp.URL)
	config := write("server.properties", settings.String())

	java := func(args ...string) *exec.Cmd {
		cmd := exec.Command("java", append([]string{"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-Dorg.slf4j.simpleLogger.log.kafka.network.Processor=debug", // for expired
			"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + k.idp.URL + "/jwks", "-cp", filepath.Join(jars, "*")}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	if out, err := java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config,
		"--add-scram", "SCRAM-SHA-256=[name=clerk,password="+clerksPassword+"]",
		"--add-scram", "SCRAM-SHA-512=[name=clerk,password="+clerksPassword+"]").CombinedOutput(); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	broker := java("kafka.Kafka", config)
	broker.Stdout, broker.Stderr = k.log, k.log
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Kill() // it may have ended by itself
		_ = broker.Wait()
		if t.Failed() {
			log := k.log.String()
			t.Logf("the broker's log ends with\n%s", log[max(0, len(log)-6000):])
		}
	})
	var err error
	if k.admin, err = kgo.NewClient(kgo.SeedBrokers(k.addrs["ADMIN"])); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.admin.Close)
	k.wait(t, "its broker", func(ctx context.Context) bool {
		m, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, k.admin)
		return err == nil && len(m.Brokers) == 1
	})
	// The first handshake of a Java that has just begun may take longer than a pass waits.
	k.wait(t, "its TLS", func(ctx context.Context) bool {
		c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", k.addrs["TLS"])
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return k
}

// quietAddr returns an address on loopback, with a port that is given to no connection before the broker takes it: those
// begin at 32,768.
func quietAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12_000+mathrand.IntN(20_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("there are no free ports")
	return ""
}

// wait asks until something is so.
func (k *lockedKafka) wait(t *testing.T, what string, so func(ctx context.Context) bool) {
	t.Helper()
	late := time.After(time.Minute)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		yes := so(ctx)
		cancel()
		if yes {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("waiting for %s: gave up after a minute", what)
		}
	}
}

// topic makes one for the test alone.
func (k *lockedKafka) topic(t *testing.T, name string) string {
	t.Helper()
	if err := publishtest.CreateTopic(t.Context(), []string{k.addrs["ADMIN"]}, name, 3, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	return name
}

// setPassword gives clerk another password for SCRAM-SHA-512.
func (k *lockedKafka) setPassword(t *testing.T, password string) {
	t.Helper()
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt = "clerk", 2, 4096, []byte("a pinch of salt")
	var err error
	if u.SaltedPassword, err = pbkdf2.Key(sha512.New, password, u.Salt, int(u.Iterations), sha512.Size); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, u)
	res, err := req.RequestWith(t.Context(), k.admin)
	if err == nil {
		err = kerr.ErrorForCode(res.Results[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("set the password: %v", err)
	}
}

// acl is a right of clerk.
type acl struct {
	of        kmsg.ACLResourceType
	name      string
	operation kmsg.ACLOperation
}

func (a acl) String() string {
	return fmt.Sprintf("%s on %s %s", a.operation, a.of, a.name)
}

// grant makes these rights all that clerk has.
func (k *lockedKafka) grant(t *testing.T, rights []acl) {
	t.Helper()
	all := kmsg.NewDeleteACLsRequestFilter()
	all.ResourceType, all.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	all.Operation, all.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	drop := kmsg.NewPtrDeleteACLsRequest()
	drop.Filters = append(drop.Filters, all)
	if _, err := drop.RequestWith(t.Context(), k.admin); err != nil {
		t.Fatal(err)
	}
	give := kmsg.NewPtrCreateACLsRequest()
	for _, r := range rights {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = r.of, r.name, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:clerk", "*", r.operation, kmsg.ACLPermissionTypeAllow
		give.Creations = append(give.Creations, c)
	}
	res, err := give.RequestWith(t.Context(), k.admin)
	if err == nil {
		for _, r := range res.Results {
			err = errors.Join(err, kerr.ErrorForCode(r.ErrorCode))
		}
	}
	if err != nil {
		t.Fatalf("grant: %v", err)
	}
	k.wait(t, "its rights", func(ctx context.Context) bool {
		see := kmsg.NewPtrDescribeACLsRequest()
		see.ResourceType, see.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
		see.Operation, see.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		res, err := see.RequestWith(ctx, k.admin)
		n := 0
		if err == nil {
			for _, r := range res.Resources {
				n += len(r.ACLs)
			}
		}
		return err == nil && n == len(rights)
	})
}

// idp hands out signed tokens for robot, to whoever names the secret, and the key that they are signed with.
type idp struct {
	*httptest.Server
	key *rsa.PrivateKey
}

const robotsSecret = "beep-beep"

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &idp{key: key}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	id, secret, _ := r.BasicAuth()
	switch {
	case r.URL.Path == "/jwks":
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one",
			"n": coded(i.key.N.Bytes()), "e": coded(big.NewInt(int64(i.key.E)).Bytes()),
		}}})
	case id != "slotsync" || secret != robotsSecret:
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid_client"}`)
	default:
		audience := cmp.Or(r.FormValue("audience"), "kafka")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": i.token(audience, 5*time.Minute), "token_type": "Bearer", "expires_in": 300})
	}
}

func (i *idp) token(audience string, lasts time.Duration) string {
	part := func(v map[string]any) string {
		text, _ := json.Marshal(v) // of texts and numbers
		return coded(text)
	}
	now := time.Now()
	text := part(map[string]any{"alg": "RS256", "kid": "one", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": i.URL, "aud": audience, "sub": "robot", "iat": now.Unix(), "exp": now.Add(lasts).Unix(),
	})
	hash := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, hash[:])
	if err != nil {
		panic(err)
	}
	return text + "." + coded(signature)
}

func coded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
