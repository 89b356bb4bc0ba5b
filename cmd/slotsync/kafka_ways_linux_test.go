package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
)

// quickly is the longest that it may take to say that there is no way in, on a machine that is busy.
const quickly = 12 * time.Second

// Against a real broker, since each listener, certificate and login of the world's is a stand-in.
func TestEachWayIntoKafka(t *testing.T) {
	k := startLockedKafka(t)
	w := start(t, world.Options{Shifts: 60})
	topic := k.topic(t, "ways")
	cert, key := k.authority.signed("slotsync", tomorrow())
	oldCert, oldKey := k.authority.signed("slotsync", time.Now().Add(-time.Hour))
	strangerCert, strangerKey := newAuthority(t, "an authority").signed("slotsync", tomorrow())

	tls := func(more env) env {
		e := env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": file(t, read(t, k.authority.path))}
		maps.Copy(e, more)
		return e
	}
	login := func(mechanism, user, password string) env {
		return tls(env{"KAFKA_SASL_MECHANISM": mechanism, "KAFKA_USERNAME": user, "KAFKA_PASSWORD": password})
	}
	oauth := func(secret string, more env) env {
		e := tls(env{
			"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": k.idp.URL + "/token",
			"KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "slotsync", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": secret,
		})
		maps.Copy(e, more)
		return e
	}
	k.grant(t, granted(t, topic))
	var matrix strings.Builder
	table := tabwriter.NewWriter(&matrix, 0, 0, 2, ' ', 0)
	for _, way := range []struct {
		listener, claim string
		settings        env
		says            string // empty: it works
	}{
		{"ADMIN", "plain text", env{}, ""},
		{"TLS", "own authority", tls(nil), ""},
		{"TLS", "PEM in the variable", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": read(t, k.authority.path)}, ""},
		{"TLS", "plain text", env{}, "KAFKA_TLS"},
		{"TLS", "unknown authority", env{"KAFKA_TLS": "true"}, "KAFKA_TLS_CA"},
		{"TLS", "another authority", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": read(t, newAuthority(t, "another authority").path)}, "not signed by an authority in KAFKA_TLS_CA"},
		{"ADMIN", "TLS", tls(nil), "speaks no TLS on this port: unset KAFKA_TLS, or give the port of a listener with TLS in KAFKA_BROKERS"},
		{"ELSEWHERE", "wrong host name", tls(nil), "is for kafka.example, not for 127.0.0.1: reach it by a name in it (KAFKA_BROKERS, and what the brokers advertise), or set KAFKA_TLS_SERVER_NAME"},
		{"ELSEWHERE", "its name is set", tls(env{"KAFKA_TLS_SERVER_NAME": "kafka.example"}), ""},
		{"EXPIRED", "expired", tls(nil), "has expired, on 20"},
		{"MTLS", "our certificate", tls(env{"KAFKA_TLS_CERT": file(t, cert), "KAFKA_TLS_KEY": file(t, key)}), ""},
		{"MTLS", "none", tls(nil), "set KAFKA_TLS_CERT"},
		{"MTLS", "a stranger's", tls(env{"KAFKA_TLS_CERT": strangerCert, "KAFKA_TLS_KEY": strangerKey}), "certificate in KAFKA_TLS_CERT: let the server trust the authority that has signed it"},
		{"MTLS", "ours, expired", tls(env{"KAFKA_TLS_CERT": oldCert, "KAFKA_TLS_KEY": oldKey}), "certificate in KAFKA_TLS_CERT, which has expired, on 20"},
		{"LOCKED", "PLAIN", login("PLAIN", "ann", annsPassword), ""},
		{"LOCKED", "PLAIN, wrong password", login("PLAIN", "ann", "shout"), "refused the login with PLAIN: look at KAFKA_USERNAME and KAFKA_PASSWORD"},
		{"LOCKED", "SCRAM-SHA-256", login("SCRAM-SHA-256", "clerk", clerksPassword), ""},
		{"LOCKED", "SCRAM-SHA-256, wrong password", login("SCRAM-SHA-256", "clerk", "shout"), "refused the login with SCRAM-SHA-256: look at KAFKA_USERNAME and KAFKA_PASSWORD"},
		{"LOCKED", "SCRAM-SHA-512", login("SCRAM-SHA-512", "clerk", clerksPassword), ""},
		{"LOCKED", "SCRAM-SHA-512, no such user", login("SCRAM-SHA-512", "nobody", clerksPassword), "refused the login with SCRAM-SHA-512"},
		{"LOCKED", "OAUTHBEARER", oauth(robotsSecret, nil), ""},
		{"LOCKED", "OAUTHBEARER, wrong secret", oauth("shout", nil), "401 Unauthorized, invalid_client"},
		{"LOCKED", "OAUTHBEARER, with its audience", oauth(robotsSecret, env{"KAFKA_SASL_OAUTHBEARER_AUDIENCE": "kafka"}), ""},
		{"LOCKED", "OAUTHBEARER, for another audience", oauth(robotsSecret, env{"KAFKA_SASL_OAUTHBEARER_AUDIENCE": "shout"}), "KAFKA_SASL_OAUTHBEARER_SCOPE, _AUDIENCE and _EXTENSIONS"},
		{"LOCKED", "OAUTHBEARER, no token endpoint", oauth(robotsSecret, env{"KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "http://" + freeAddr(t) + "/token"}), "connection refused"},
		{"LOCKED", "no login", tls(nil), "expects a login: is KAFKA_SASL_MECHANISM right?"},
		{"LOCKED", "no TLS", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_USERNAME": "ann", "KAFKA_PASSWORD": annsPassword}, "KAFKA_TLS"},
		{"CLEAR", "PLAIN without TLS", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_USERNAME": "ann", "KAFKA_PASSWORD": annsPassword}, ""},
		{"CLEAR", "a mechanism that is not offered", env{"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_USERNAME": "ann", "KAFKA_PASSWORD": annsPassword}, "offers PLAIN on this listener, but not SCRAM-SHA-512"},
		{"ADMIN", "a login where there is none", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_USERNAME": "ann", "KAFKA_PASSWORD": annsPassword}, "takes no login on this listener"},
	} {
		way.settings["KAFKA_BROKERS"], way.settings["KAFKA_TOPIC_NAME"] = k.addrs[way.listener], topic
		claim := way.listener + ": " + way.claim
		w.API.Churn(5)
		began := time.Now()
		rep, code, log := once(t, w, way.settings)
		took := time.Since(began)
		if want := map[bool]int{true: 0, false: 1}[way.says == ""]; code != want || want == 0 && published(rep) == 0 || !strings.Contains(log, way.says) {
			t.Errorf("%s: got exit %d, published %d, want %d and %q in\n%s", claim, code, published(rep), want, way.says, log)
		}
		if took > quickly {
			t.Errorf("%s: a pass took %s", claim, took)
		}
		began = time.Now()
		out, _, code := call(t, w, way.settings, "check", "--json")
		if took := time.Since(began); took > quickly {
			t.Errorf("%s: a check took %s", claim, took)
		}
		if failed := strings.Contains(out, `"name": "kafka_brokers"`) && code == 1; failed != (way.says != "") || !strings.Contains(out, way.says) {
			t.Errorf("%s: check: got exit %d, want %q in\n%s", claim, code, way.says, out)
		}
		for _, secret := range []string{"shout", annsPassword, clerksPassword, robotsSecret} {
			if strings.Contains(log+out, secret) {
				t.Errorf("%s: %q was printed:\n%s%s", claim, secret, log, out)
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", way.listener, way.claim, code, took.Round(10*time.Millisecond), lastError(log))
	}
	_ = table.Flush()
	t.Logf("listener, way, exit, time, error\n%s", matrix.String())
}

// granted are the rights that the README's commands give, to the topic.
func granted(t *testing.T, topic string) []acl {
	t.Helper()
	var rights []acl
	for _, command := range regexp.MustCompile(`(?m)^kafka-acls\.sh (.* --allow-principal User:slotsync .*)$`).FindAllStringSubmatch(readme(t), -1) {
		to := acl{of: kmsg.ACLResourceTypeCluster, name: "kafka-cluster"}
		for flag, of := range map[string]kmsg.ACLResourceType{"topic": kmsg.ACLResourceTypeTopic, "transactional-id": kmsg.ACLResourceTypeTransactionalId} {
			if name := regexp.MustCompile(`--` + flag + ` (\S+)`).FindStringSubmatch(command[1]); name != nil {
				to.of, to.name = of, strings.Replace(name[1], "shifts", topic, 1)
			}
		}
		for _, operation := range regexp.MustCompile(`--operation (\S+)`).FindAllStringSubmatch(command[1], -1) {
			parsed, err := kmsg.ParseACLOperation(operation[1])
			if err != nil {
				t.Fatal(err)
			}
			to.operation = parsed
			rights = append(rights, to)
		}
	}
	if len(rights) < 5 {
		t.Fatalf("the README grants only %v", rights)
	}
	return rights
}

func TestTheReadmesRightsToKafkaAreEnoughAndEachIsNeeded(t *testing.T) {
	k := startLockedKafka(t)
	w := start(t, world.Options{Shifts: 60})
	topic := k.topic(t, "rights")
	settings := env{
		"KAFKA_BROKERS": k.addrs["LOCKED"], "KAFKA_TOPIC_NAME": topic, "KAFKA_TLS": "true", "KAFKA_TLS_CA": read(t, k.authority.path),
		"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_USERNAME": "clerk", "KAFKA_PASSWORD": clerksPassword,
	}
	all := granted(t, topic)
	without := func(of kmsg.ACLResourceType, operations ...kmsg.ACLOperation) []acl {
		return slices.DeleteFunc(slices.Clone(all), func(a acl) bool { return a.of == of && slices.Contains(operations, a.operation) })
	}
	const onTopic, onID, onCluster = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeTransactionalId, kmsg.ACLResourceTypeCluster
	const write, describe = kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	const read, configs = kmsg.ACLOperationRead, kmsg.ACLOperationDescribeConfigs
	for _, try := range []struct {
		claim  string
		rights []acl
		pass   string // what a pass says; empty: nothing, and it works
		works  bool
		check  string // what a check says beside that it is well
		tail   string
	}{
		{"all", all, "", true, "", ""},
		{"what implies Describe", without(onTopic, describe), "", true, "", ""},
		{"no rights to the topic", without(onTopic, write, describe, configs, read), "Describe and Write on the topic", false, "--operation Describe --operation Write --topic rights", "Describe"},
		{"no Write on the topic", without(onTopic, write), "the right Write on the topic is needed", false, "--operation Write --topic rights", ""},
		{"no rights to the transactional id", without(onID, write, describe), "NOT FENCED", true, "--operation Write --transactional-id slotsync-rights", ""},
		{"no Write on the transactional id", without(onID, write), "NOT FENCED", true, "--operation Write --transactional-id slotsync-rights", ""},
		{"no DescribeConfigs on the topic", without(onTopic, configs), "", true, "--operation DescribeConfigs --topic rights", ""},
		{"no DescribeConfigs on the cluster", without(onCluster, configs), "", true, "--operation DescribeConfigs --cluster", ""},
		{"no Read on the topic", without(onTopic, read), "", true, "", "the right Read on the topic is needed"},
	} {
		k.grant(t, try.rights)
		w.API.Churn(5)
		rep, code, log := once(t, w, settings)
		if worked := code == 0 && published(rep) > 0; worked != try.works || !strings.Contains(log, try.pass) || try.pass == "" && strings.Contains(log, `"level":"WARN"`) {
			t.Errorf("%s: a pass: got exit %d, published %d, want it to say %q in\n%s", try.claim, code, published(rep), try.pass, log)
		}
		out, _, _ := call(t, w, settings, "check")
		kafka, _, _ := strings.Cut(out[max(0, strings.Index(out, "\nKafka\n")):], "\n\n")
		if well := !strings.Contains(kafka, "kafka-acls.sh"); well != (try.check == "") || !strings.Contains(kafka, try.check) {
			t.Errorf("%s: a check: want %q in\n%s", try.claim, try.check, kafka)
		}
		_, log, code = call(t, w, settings, "tail", "--no-follow", "-n", "1")
		if (code == 0) != (try.tail == "") || !strings.Contains(log, try.tail) {
			t.Errorf("%s: tail: got exit %d, want %q in\n%s", try.claim, code, try.tail, log)
		}
		t.Logf("%s: pass %d: %s; tail: %s", try.claim, published(rep), lastError(log), strings.TrimSpace(log))
	}
}

// Sessions last for a third of the time that the worker works.
func TestNothingIsLostOrRepeatedWhenSessionsEndAndSecretsAreReplaced(t *testing.T) {
	k := startLockedKafka(t)
	w := start(t, world.Options{Shifts: 200})
	topic := k.topic(t, "rotation")
	k.grant(t, granted(t, topic))
	password, ca := file(t, clerksPassword+"\n"), file(t, read(t, k.authority.path))
	r := loop(t, in(w, env{
		"KAFKA_BROKERS": k.addrs["LOCKED"], "KAFKA_TOPIC_NAME": topic, "KAFKA_TLS": "true", "KAFKA_TLS_CA": ca,
		"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_USERNAME": "clerk", "KAFKA_PASSWORD_FILE": password,
		"SYNC_SLEEP_PERIOD_SECONDS": "1",
	}))
	r.until(t, good, 1)
	began, passes := time.Now(), 1
	churn := func() {
		w.API.Churn(20)
		passes = len(r.until(t, good, passes+1))
	}
	for time.Since(began) < 3*sessionLasts {
		churn()
	}
	if n := strings.Count(r.String(), bad) + strings.Count(r.String(), `"level":"WARN"`); n > 0 {
		t.Errorf("%d failures and warnings in %s, want none:\n%s", n, 3*sessionLasts, r)
	}
	if n := strings.Count(k.log.String(), expired); n > 0 {
		t.Errorf("the broker cut %d connections in %s, want none", n, 3*sessionLasts)
	}

	k.setPassword(t, "psst-psst")
	r.until(t, "refused the login with SCRAM-SHA-512", 1) // when its connections are replaced
	replace(t, password, "psst-psst\n")
	passes = len(r.until(t, good, 0))
	churn()
	churn()
	r.halt(t)

	messages, err := publishtest.ReadAll(t.Context(), []string{k.addrs["ADMIN"]}, topic)
	if err != nil {
		t.Fatal(err)
	}
	records := decoded(t, w.Registry.URL(), messages, nil)
	saysWhatIsTrue(t, records, truth(w))
	last := map[int64]string{}
	for _, rec := range records {
		if hash := rec.Headers["slotsync-hash"]; hash == "" || hash == last[rec.id] {
			t.Errorf("shift %d: hash %q follows %q", rec.id, hash, last[rec.id])
		}
		last[rec.id] = rec.Headers["slotsync-hash"]
	}
	t.Logf("%d records in %d passes, none lost, none repeated", len(records), passes)
}
