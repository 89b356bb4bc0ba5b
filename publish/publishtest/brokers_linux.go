package publishtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	replicas   = 3
	partitions = 6 // of a topic
)

// Brokers is a cluster of three real brokers, each of which is a controller too, as processes that end with this one.
type Brokers struct {
	Nodes []*Broker
	Addrs []string // of the nodes, host:port

	admin *kgo.Client
}

// Broker is one of them. What it holds outlives its process.
type Broker struct {
	jars, config, log string
	cmd               *exec.Cmd     // nil: it does not run
	ended             chan struct{} // closed when cmd has
}

// Front is a listener that each broker has beside its own. It is told where a broker, numbered from 0, listens, and
// returns the address that is told to whoever asks there: a proxy's, for one.
type Front func(broker int, behind string) (advertised string, err error)

// StartBrokers starts a cluster with Kafka's jars, which have to be in one folder. What it holds goes below dir. Close
// ends it.
func StartBrokers(ctx context.Context, dir, jars string, fronts ...Front) (b *Brokers, err error) {
	if found, _ := filepath.Glob(filepath.Join(jars, "kafka_*.jar")); len(found) == 0 {
		return nil, fmt.Errorf("start brokers: no Kafka in %q, which should hold its jars", jars)
	}
	const tries = 3
	for try := 1; ; try++ {
		b, err := startBrokers(ctx, filepath.Join(dir, fmt.Sprint("try-", try)), jars, fronts)
		if err == nil || try == tries || !b.portWasTaken() {
			return b, err
		}
	}
}

func startBrokers(ctx context.Context, dir, jars string, fronts []Front) (b *Brokers, err error) {
	b = &Brokers{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start brokers: %w", err)
			b.Close()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return b, err
	}
	if err := b.configure(dir, jars, fronts); err != nil {
		return b, err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, n := range b.Nodes {
		out, err := n.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", n.config).CombinedOutput()
		if err != nil {
			return b, fmt.Errorf("format: %w\n%s", err, out)
		}
		if err := n.Start(); err != nil {
			return b, err
		}
		watching.Go(func() {
			select {
			case <-n.ended:
				cancel(fmt.Errorf("the broker of %s ended:\n%s", n.config, n.LastWords()))
			case <-ctx.Done():
			}
		})
	}
	if b.admin, err = kgo.NewClient(kgo.SeedBrokers(b.Addrs...)); err != nil {
		return b, err
	}
	if err := b.wait(ctx, "three brokers", func(m *kmsg.MetadataResponse) bool { return len(m.Brokers) == replicas }); err != nil {
		return b, errors.Join(err, context.Cause(ctx))
	}
	return b, nil
}

// portWasTaken tells whether a broker did not start because somebody else listens where it should.
func (b *Brokers) portWasTaken() bool {
	for _, n := range b.Nodes {
		if log, _ := os.ReadFile(n.log); bytes.Contains(log, []byte("Address already in use")) {
			return true
		}
	}
	return false
}

// configure writes what the brokers are told about themselves and each other.
func (b *Brokers) configure(dir, jars string, fronts []Front) error {
	ports, err := freePorts((2 + len(fronts)) * replicas)
	if err != nil {
		return err
	}
	take := func() string {
		address := fmt.Sprintf("127.0.0.1:%d", ports[0])
		ports = ports[1:]
		return address
	}
	var voters, controllers []string
	for i := range replicas {
		b.Addrs = append(b.Addrs, take())
		controllers = append(controllers, take())
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, controllers[i]))
	}
	for i := range replicas {
		listeners := []string{"PLAINTEXT://" + b.Addrs[i], "CONTROLLER://" + controllers[i]}
		advertised, protocols := listeners[:1:1], "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
		for f, front := range fronts {
			behind := take()
			told, err := front(i, behind)
			if err != nil {
				return err
			}
			listeners = append(listeners, fmt.Sprintf("FRONT%d://%s", f, behind))
			advertised = append(advertised, fmt.Sprintf("FRONT%d://%s", f, told))
			protocols += fmt.Sprintf(",FRONT%d:PLAINTEXT", f)
		}
		home := filepath.Join(dir, fmt.Sprint(i+1))
		n := &Broker{jars: jars, config: home + ".properties", log: home + ".log"}
		// What is shorter than its default makes a cluster notice in seconds what happened to one of it.
		settings := fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=%s
listeners=%s
advertised.listeners=%s
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
log.retention.ms=-1
`, i+1, strings.Join(voters, ","), protocols, strings.Join(listeners, ","), strings.Join(advertised, ","), home)
		if err := os.WriteFile(n.config, []byte(settings), 0o600); err != nil {
			return err
		}
		b.Nodes = append(b.Nodes, n)
	}
	return nil
}

// Close ends all brokers at once, as kill -9 does.
func (b *Brokers) Close() {
	if b.admin != nil {
		b.admin.Close()
	}
	for _, n := range b.Nodes {
		n.Kill()
	}
}

func (n *Broker) java(args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // three share a machine with who uses them
		"-cp", filepath.Join(n.jars, "*"),
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Start starts a broker that does not run, with what it had.
func (n *Broker) Start() error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := n.java("kafka.Kafka", n.config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the broker of %s: %w", n.config, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	n.cmd, n.ended = cmd, ended
	return nil
}

// Stop lets the broker hand over what it leads, and waits for its end.
func (n *Broker) Stop() error {
	const patience = 40 * time.Second
	if err := n.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.ended:
		n.cmd = nil
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the broker of %s does not stop within %s:\n%s", n.config, patience, n.LastWords())
	}
}

// Signal sends a signal to a broker that runs.
func (n *Broker) Signal(s syscall.Signal) error {
	if n.cmd == nil {
		return fmt.Errorf("the broker of %s does not run", n.config)
	}
	return n.cmd.Process.Signal(s)
}

// Kill ends the broker at once, even if it hangs. It may be called again.
func (n *Broker) Kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill() // it may have ended by itself
		<-n.ended
		n.cmd = nil
	}
}

// LastWords returns the last errors in the broker's log.
func (n *Broker) LastWords() string {
	log, _ := os.ReadFile(n.log)
	var told [][]byte
	for _, line := range bytes.Split(log, []byte("\n")) {
		if bytes.Contains(line, []byte("] ERROR ")) || bytes.Contains(line, []byte("] FATAL ")) {
			told = append(told, line)
		}
	}
	return string(bytes.Join(told[max(0, len(told)-15):], []byte("\n")))
}

// CreateTopic makes a topic of six partitions on all brokers, that takes records while two of them are in sync. Settings
// are the topic's.
func (b *Brokers) CreateTopic(ctx context.Context, topic string, settings map[string]string) error {
	want := kmsg.NewCreateTopicsRequestTopic()
	want.Topic, want.NumPartitions, want.ReplicationFactor = topic, partitions, replicas
	for name, value := range withLeast(settings) {
		setting := kmsg.NewCreateTopicsRequestTopicConfig()
		setting.Name, setting.Value = name, kmsg.StringPtr(value)
		want.Configs = append(want.Configs, setting)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.Topics = 30_000, append(req.Topics, want)
	res, err := req.RequestWith(ctx, b.admin)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	return b.InSync(ctx, topic, replicas)
}

func withLeast(settings map[string]string) map[string]string {
	all := map[string]string{leastInSync: "2"}
	maps.Copy(all, settings)
	return all
}

// leastInSync is the topic's setting for how many replicas a record has to reach.
const leastInSync = "min.insync.replicas"

// Refuse makes a topic refuse all records, as it does when too few brokers are up, or take them again.
func (b *Brokers) Refuse(ctx context.Context, topic string, refuse bool) error {
	least := "2"
	if refuse {
		least = strconv.Itoa(replicas + 1)
	}
	set := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	set.Name, set.Value = leastInSync, &least
	of := kmsg.NewIncrementalAlterConfigsRequestResource()
	of.ResourceType, of.ResourceName, of.Configs = kmsg.ConfigResourceTypeTopic, topic, append(of.Configs, set)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, of)
	res, err := req.RequestWith(ctx, b.admin)
	if err == nil {
		err = kerr.ErrorForCode(res.Resources[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("set %s of %s: %w", leastInSync, topic, err)
	}
	return nil
}

// InSync waits until each partition has so many replicas in sync, and a leader.
func (b *Brokers) InSync(ctx context.Context, topic string, n int) error {
	return b.wait(ctx, fmt.Sprintf("%d replicas in sync", n), func(m *kmsg.MetadataResponse) bool {
		for _, p := range partitionsOf(m, topic) {
			if p.Leader < 0 || len(p.ISR) != n {
				return false
			}
		}
		return len(m.Brokers) >= n && len(partitionsOf(m, topic)) == partitions
	})
}

// Leader returns the broker that leads the most partitions.
func (b *Brokers) Leader(ctx context.Context, topic string) (*Broker, error) {
	var led [replicas]int
	err := b.wait(ctx, "leaders", func(m *kmsg.MetadataResponse) bool {
		led = [replicas]int{}
		for _, p := range partitionsOf(m, topic) {
			if p.Leader > 0 {
				led[p.Leader-1]++
			}
		}
		return led[0]+led[1]+led[2] == partitions
	})
	most := 0
	for i := range led {
		if led[i] > led[most] {
			most = i
		}
	}
	return b.Nodes[most], err
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
func (b *Brokers) wait(ctx context.Context, what string, done func(*kmsg.MetadataResponse) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		ask, end := context.WithTimeout(ctx, 5*time.Second)
		m, err := kmsg.NewPtrMetadataRequest().RequestWith(ask, b.admin)
		end()
		if err == nil && done(m) {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, errors.Join(ctx.Err(), err))
		}
	}
}

// freePorts returns ports that no connection is given while a broker is down: those begin at 32,768. The servers of
// package cachetest, which is tested at the same time, take theirs elsewhere.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		port := 27_000 + rand.IntN(5_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("there are no free ports")
}
