package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
)

func TestTheReadmesRightsToDeadLettersAreEnoughAndEachIsNeeded(t *testing.T) {
	k := startLockedKafka(t)
	w := start(t, world.Options{Shifts: 60})
	topic := k.topic(t, "rights")
	dead := topic + "-dlq"
	if err := publishtest.CreateTopic(t.Context(), []string{k.addrs["ADMIN"]}, dead, 1, map[string]string{"max.message.bytes": "10000"}); err != nil {
		t.Fatal(err)
	}
	settings := env{
		"KAFKA_BROKERS": k.addrs["LOCKED"], "KAFKA_TOPIC_NAME": topic, "DLQ_TOPIC": dead, "KAFKA_TLS": "true", "KAFKA_TLS_CA": k.authority.path,
		"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_USERNAME": "clerk", "KAFKA_PASSWORD": clerksPassword, "BAD_SHARE": "0.5",
	}
	all := granted(t, topic)
	without := func(operations ...kmsg.ACLOperation) []acl {
		return slices.DeleteFunc(slices.Clone(all), func(a acl) bool { return a.name == dead && slices.Contains(operations, a.operation) })
	}
	to := func(operation kmsg.ACLOperation) acl { return acl{kmsg.ACLResourceTypeTopic, dead, operation} }
	const write, configs = kmsg.ACLOperationWrite, kmsg.ACLOperationDescribeConfigs
	const noWrite = "topic rights-dlq: [29] Topic Authorization Failed: the client is not authorized to access the requested topic: the right Write on the topic is needed"
	if len(without(write, configs)) != len(all)-2 {
		t.Fatalf("the README's commands give other rights to %s than Write and DescribeConfigs: %v", dead, all)
	}
	letters := func() int {
		messages, err := publishtest.ReadAll(t.Context(), []string{k.addrs["ADMIN"]}, dead)
		if err != nil {
			t.Fatal(err)
		}
		return len(messages)
	}
	waiting := 0 // letters of earlier passes, which go out with the next that has the right
	for n, try := range []struct {
		claim  string
		rights []acl
		pass   string // what a pass says, and leaves the letter; empty: it is sent
		check  string // the command in a check; empty: none
		tail   string // what tail --dead-letters says; empty: it works
	}{
		{"those of the worker", all, "", "", "the right Read on the topic is needed"},
		{"Read, too", append(without(), to(kmsg.ACLOperationRead)), "", "", ""},
		{"no Write", without(write), noWrite, "--operation Describe --operation Write --topic " + dead, "the right"},
		{"Describe alone", append(without(write), to(kmsg.ACLOperationDescribe)), "rights-dlq/0: [29] Topic Authorization Failed: the client is not authorized to access the requested topic: the right Write on the topic is needed", "--operation Write --topic " + dead, "the right Read"},
		{"none", without(write, configs), noWrite, "--operation Describe --operation Write --topic " + dead, "the right"},
		{"no DescribeConfigs", without(configs), "", "--operation DescribeConfigs --topic " + dead, "the right Read on the topic is needed"},
	} {
		k.grant(t, try.rights)
		before := letters()
		now := time.Now() // another version each time, larger than a letter may be
		w.API.PutJSON(startless, now, now.Add(time.Hour), fmt.Sprintf(`{"id":%d,"notes":"%d %s"}`, startless, n, strings.Repeat("0123456789", 2000)))
		w.API.Churn(5)
		rep, code, log := once(t, w, settings)
		sent := letters() - before
		switch {
		case try.pass == "" && (code != 0 || sent != 1+waiting || strings.Contains(log, `"level":"WARN","msg":"kafka"`)):
			t.Errorf("%s: got exit %d and %d letters, want 0 and %d\n%s", try.claim, code, sent, 1+waiting, log)
		case try.pass != "" && (code != 3 || sent != 0 || !strings.Contains(log, try.pass)):
			t.Errorf("%s: got exit %d and %d letters, want 3, none and %q\n%s", try.claim, code, sent, try.pass, log)
		}
		if waiting++; try.pass == "" {
			waiting = 0
		}
		if published(rep) == 0 {
			t.Errorf("%s: nothing was published beside it\n%s", try.claim, log)
		}
		told := lastError(log)
		out, _, _ := call(t, w, settings, "check")
		kafka, _, _ := strings.Cut(out[max(0, strings.Index(out, "\nKafka\n")):], "\n\n")
		if well := !strings.Contains(kafka, "kafka-acls.sh"); well != (try.check == "") || !strings.Contains(kafka, try.check) {
			t.Errorf("%s: a check: want %q in\n%s", try.claim, try.check, kafka)
		}
		_, log, code = call(t, w, settings, "tail", "--dead-letters", "--no-follow", "-n", "1")
		if (code == 0) != (try.tail == "") || !strings.Contains(log, try.tail) {
			t.Errorf("%s: tail: got exit %d, want %q in\n%s", try.claim, code, try.tail, log)
		}
		t.Logf("%s: pass: %s; tail: %s", try.claim, told, strings.TrimSpace(log))
	}
}
