// Package publishtest has what it takes to meet Kafka on loopback: a cluster inside the process, a proxy in front of it
// that loses and delays what passes through, and a reader that shares no code with the producer.
package publishtest

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// KafkaOptions describe a cluster. The zero value is one broker without topics, in memory.
type KafkaOptions struct {
	Brokers    int    // 0: one
	Topic      string // created if not empty
	Partitions int    // of Topic; 0: one
	ClusterID  string // empty: kfake's own
	Ports      []int  // to listen on, one a broker; nil: free ones
	// DataDir keeps what was written, through a kill too. Empty: all of it is held in memory.
	DataDir       string
	Settings      map[string]string // of the brokers
	TopicSettings map[string]string // of Topic
	Discard       bool              // acknowledge records, and keep none
	// Rights are all that clients have, who are not known by name; nil: everybody may do everything.
	Rights []kfake.ACL
}

// Kafka is a cluster on loopback. It speaks the protocol as far as the embedded kfake.Cluster does, with two
// differences that matter to a fenced producer: a newer epoch is known to all partitions at once, while real brokers
// learn it partition by partition, from the first batch; and a renewal with an epoch that is not the newest is taken,
// while real brokers refuse it.
type Kafka struct {
	*kfake.Cluster
	Addrs []string // of the brokers, host:port
}

// May is a right on a resource, as clients that are not known by name have it.
func May(operation kmsg.ACLOperation, of kmsg.ACLResourceType, name string) kfake.ACL {
	return kfake.ACL{Resource: of, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
}

// Grant adds a right. Clients need the right Alter on the cluster for it.
func (k *Kafka) Grant(ctx context.Context, right kfake.ACL) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(k.Addrs...))
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	defer c.Close()
	acl := kmsg.NewCreateACLsRequestCreation()
	acl.ResourceType, acl.ResourceName, acl.ResourcePatternType = right.Resource, right.Name, right.Pattern
	acl.Principal, acl.Host, acl.Operation = "User:ANONYMOUS", "*", right.Operation
	acl.PermissionType = kmsg.ACLPermissionTypeAllow
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = append(req.Creations, acl)
	resp, err := req.RequestWith(ctx, c)
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("grant: %w", err)
		}
	}
	return nil
}

// StartKafka starts a cluster, which runs until Close.
func StartKafka(o KafkaOptions) (*Kafka, error) {
	opts := []kfake.Opt{kfake.NumBrokers(max(o.Brokers, 1))}
	if o.ClusterID != "" {
		opts = append(opts, kfake.ClusterID(o.ClusterID))
	}
	if len(o.Ports) > 0 {
		opts = append(opts, kfake.Ports(o.Ports...))
	}
	if o.DataDir != "" {
		opts = append(opts, kfake.DataDir(o.DataDir))
	}
	if len(o.Settings) > 0 {
		opts = append(opts, kfake.BrokerConfigs(o.Settings))
	}
	if o.Discard {
		opts = append(opts, kfake.BlackholeProduce())
	}
	if o.Rights != nil {
		opts = append(opts, kfake.EnableACLs(), kfake.User("PLAIN", "ANONYMOUS", "", o.Rights...))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	if o.Topic != "" && c.TopicInfo(o.Topic) == nil { // it may be there from DataDir
		if err := c.CreateTopic(o.Topic, int32(max(o.Partitions, 1)), o.TopicSettings); err != nil {
			c.Close()
			return nil, fmt.Errorf("start kafka: topic %s: %w", o.Topic, err)
		}
	}
	return &Kafka{Cluster: c, Addrs: c.ListenAddrs()}, nil
}
