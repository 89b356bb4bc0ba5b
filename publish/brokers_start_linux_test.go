package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokers is a cluster of three real brokers, each of which is a controller too, as processes of this test.
type brokers struct {
	nodes []*broker
	addrs []string
	admin *kgo.Client
}

type broker struct {
	jars, config, log string
	cmd               *exec.Cmd     // nil: it does not run
	ended             chan struct{} // closed when cmd has
}

const replicas = 3

// startBrokers starts a cluster with Kafka's jars, which have to be in one folder.
func startBrokers(t *testing.T, jars string) *brokers {
	t.Helper()
	if found, _ := filepath.Glob(filepath.Join(jars, "kafka_*.jar")); len(found) == 0 {
		t.Fatalf("no Kafka in %s, which should hold its jars", jars)
	}
	dir, b := t.TempDir(), &brokers{}
	ports := freePorts(t, 2*replicas)
	var voters []string
	for i := range replicas {
		b.addrs = append(b.addrs, fmt.Sprintf("127.0.0.1:%d", ports[i]))
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[replicas+i]))
	}
	for i := range replicas {
		home := filepath.Join(dir, fmt.Sprint(i+1))
		n := &broker{jars: jars, config: home + ".properties", log: home + ".log"}
		// What is shorter than its default makes a cluster notice in seconds what happened to one of it.
		settings := fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d
advertised.listeners=PLAINTEXT://%s
log.dirs=%s
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=9000
replica.lag.time.max.ms=5000
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
num.network.threads=2
num.io.threads=4
log.cleaner.enable=false
`, i+1, strings.Join(voters, ","), b.addrs[i], ports[replicas+i], b.addrs[i], home)
		if err := os.WriteFile(n.config, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := n.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", n.config).CombinedOutput()
		if err != nil {
			t.Fatalf("format: %v\n%s", err, out)
		}
		b.nodes = append(b.nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range b.nodes {
			n.kill()
			if t.Failed() {
				t.Logf("the last errors in %s:\n%s", n.log, n.lastWords())
			}
		}
	})
	for _, n := range b.nodes {
		n.start(t)
	}
	var err error
	if b.admin, err = kgo.NewClient(kgo.SeedBrokers(b.addrs...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.admin.Close)
	b.wait(t, "three brokers", func(m *kmsg.MetadataResponse) bool { return len(m.Brokers) == replicas })
	return b
}

func (n *broker) java(args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // three share a machine with the test
		"-cp", filepath.Join(n.jars, "*"),
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (n *broker) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := n.java("kafka.Kafka", n.config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	n.cmd, n.ended = cmd, ended
}

// stop lets the broker hand over what it leads, and waits for its end.
func (n *broker) stop(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGTERM)
	select {
	case <-n.ended:
		n.cmd = nil
	case <-time.After(40 * time.Second):
		t.Fatalf("the broker of %s does not stop:\n%s", n.config, n.lastWords())
	}
}

func (n *broker) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (n *broker) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill() // it may have ended by itself
		<-n.ended
		n.cmd = nil
	}
}

func (n *broker) lastWords() string {
	log, _ := os.ReadFile(n.log)
	var told [][]byte
	for _, line := range bytes.Split(log, []byte("\n")) {
		if bytes.Contains(line, []byte("] ERROR ")) || bytes.Contains(line, []byte("] FATAL ")) {
			told = append(told, line)
		}
	}
	return string(bytes.Join(told[max(0, len(told)-15):], []byte("\n")))
}

// create makes a topic of six partitions on all brokers, that takes records while two of them are in sync.
func (b *brokers) create(t *testing.T, topic string) {
	t.Helper()
	want := kmsg.NewCreateTopicsRequestTopic()
	want.Topic, want.NumPartitions, want.ReplicationFactor = topic, 6, replicas
	least := kmsg.NewCreateTopicsRequestTopicConfig()
	least.Name, least.Value = "min.insync.replicas", kmsg.StringPtr("2")
	want.Configs = append(want.Configs, least)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.Topics = 30_000, append(req.Topics, want)
	res, err := req.RequestWith(t.Context(), b.admin)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create %s: %v", topic, err)
	}
	b.inSync(t, topic, replicas)
}

// inSync waits until each partition has so many replicas in sync, and a leader.
func (b *brokers) inSync(t *testing.T, topic string, n int) {
	t.Helper()
	b.wait(t, fmt.Sprintf("%d replicas in sync", n), func(m *kmsg.MetadataResponse) bool {
		for _, p := range partitionsOf(m, topic) {
			if p.Leader < 0 || len(p.ISR) != n {
				return false
			}
		}
		return len(m.Brokers) >= n && len(partitionsOf(m, topic)) == 6
	})
}

// leads returns the broker that leads the most partitions.
func (b *brokers) leads(t *testing.T, topic string) *broker {
	t.Helper()
	var led [replicas]int
	b.wait(t, "leaders", func(m *kmsg.MetadataResponse) bool {
		led = [replicas]int{}
		for _, p := range partitionsOf(m, topic) {
			if p.Leader > 0 {
				led[p.Leader-1]++
			}
		}
		return led[0]+led[1]+led[2] == 6
	})
	most := 0
	for i := range led {
		if led[i] > led[most] {
			most = i
		}
	}
	return b.nodes[most]
}

func partitionsOf(m *kmsg.MetadataResponse, topic string) []kmsg.MetadataResponseTopicPartition {
	for _, t := range m.Topics {
		if t.Topic != nil && *t.Topic == topic {
			return t.Partitions
		}
	}
	return nil
}

// wait asks any broker for metadata until they are as wanted.
func (b *brokers) wait(t *testing.T, what string, done func(*kmsg.MetadataResponse) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		ask, end := context.WithTimeout(ctx, 5*time.Second)
		m, err := kmsg.NewPtrMetadataRequest().RequestWith(ask, b.admin)
		end()
		if err == nil && done(m) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: gave up after a minute: %v", what, err)
		}
	}
}

// freePorts returns ports that no connection is given while a broker is down: those begin at 32,768.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range 100 {
		port := 12_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("there are no free ports")
	return nil
}
