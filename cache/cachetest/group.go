package cachetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// slots is how many parts the keys of a cluster have.
const slots = 16384

// StartCluster starts a cluster of n masters with these settings. A node has to be away for 30 s until the others notice,
// unless a setting says otherwise, so that none is missed because a machine is slow.
func StartCluster(dir string, n int, settings ...string) (nodes Group, err error) {
	defer func() {
		if err != nil {
			nodes.Close()
		}
	}()
	ctx := context.Background()
	for i := range n {
		s, err := Start(dir, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "30000"}, settings...)...)
		if s != nil {
			nodes = append(nodes, s)
		}
		if err != nil {
			return nodes, err
		}
		if err := s.Do(ctx, "cluster", "addslotsrange", i*slots/n, (i+1)*slots/n-1); err != nil {
			return nodes, err
		}
		if i == 0 {
			continue
		}
		// Nodes that begin with one epoch each need not quarrel about it.
		if err := s.Do(ctx, "cluster", "set-config-epoch", i+1); err != nil {
			return nodes, err
		}
		host, port, _ := net.SplitHostPort(nodes[0].amongServers("--tls-cluster"))
		if err := s.Do(ctx, "cluster", "meet", host, port); err != nil {
			return nodes, err
		}
	}
	for _, s := range nodes {
		err := s.Wait("the cluster is complete", func(ctx context.Context, c *redis.Client) (bool, error) {
			info, err := c.ClusterInfo(ctx).Result()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)), err
		})
		if err != nil {
			return nodes, err
		}
	}
	return nodes, nil
}

// JoinReplica starts a server that follows a node of a cluster, and waits until it has what that has. The settings are those
// of the cluster's own nodes.
func JoinReplica(dir string, master *Server, settings ...string) (*Server, error) {
	ctx := context.Background()
	s, err := Start(dir, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "30000"}, settings...)...)
	if err != nil {
		return s, err
	}
	id, err := master.ID(ctx)
	if err != nil {
		return s, err
	}
	host, port, _ := net.SplitHostPort(master.amongServers("--tls-cluster"))
	if err := s.Do(ctx, "cluster", "meet", host, port); err != nil {
		return s, err
	}
	err = s.Wait("it knows its master", func(ctx context.Context, c *redis.Client) (bool, error) {
		return true, c.Do(ctx, "cluster", "replicate", id).Err()
	})
	if err != nil {
		return s, err
	}
	return s, s.Follows()
}

// ID is the name of a node among those of its cluster.
func (s *Server) ID(ctx context.Context) (string, error) {
	c := s.Client()
	defer c.Close()
	id, err := c.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		return "", fmt.Errorf("cluster myid: %w", err)
	}
	return id, nil
}

// amongServers is where other servers find this one, which a setting says.
func (s *Server) amongServers(setting string) string {
	if s.setting(setting) == "yes" {
		return s.TLSAddr
	}
	return s.Addr
}

// StartReplica starts a server that follows the master, and waits until it has what that has.
func StartReplica(dir string, master *Server) (*Server, error) {
	host, port, _ := net.SplitHostPort(master.Addr)
	s, err := Start(dir, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	if err != nil {
		return s, err
	}
	return s, s.Follows()
}

// Follows waits until the server is a replica that has reached its master.
func (s *Server) Follows() error {
	return s.Wait("it follows its master", func(ctx context.Context, c *redis.Client) (bool, error) {
		info, err := c.Info(ctx, "replication").Result()
		return strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up"), err
	})
}

// TakeOver makes a replica in a cluster the master, and waits until it is. All nodes have to know it: they vote.
func (s *Server) TakeOver(ctx context.Context) error {
	const wait = 6 * time.Second // each attempt is given up by the servers after five
	var err error
	for range patience / wait {
		if err = s.Do(ctx, "cluster", "failover"); err != nil && strings.Contains(err.Error(), "replica") {
			return s.Leads() // of the attempt before: it is none any more
		}
		if err = s.waitFor(wait, "it has taken over", leads); err == nil {
			return nil
		}
	}
	return err
}

// Knows waits until the server knows so many nodes of its cluster, itself included.
func (s *Server) Knows(n int) error {
	return s.Wait("it knows the nodes", func(ctx context.Context, c *redis.Client) (bool, error) {
		info, err := c.ClusterInfo(ctx).Result()
		return strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", n)), err
	})
}

func leads(ctx context.Context, c *redis.Client) (bool, error) {
	info, err := c.Info(ctx, "replication").Result()
	return strings.Contains(info, "role:master"), err
}

// Leads waits until the server is a master.
func (s *Server) Leads() error {
	return s.Wait("it is master", leads)
}

// MasterName is what the Sentinels of StartSentinels call the master.
const MasterName = "mymaster"

// StartSentinels starts n Sentinels with these settings that watch the master, and act when most of them have missed it for
// a second.
func StartSentinels(dir string, master *Server, n int, settings ...string) (sentinels Group, err error) {
	defer func() {
		if err != nil {
			sentinels.Close()
		}
	}()
	at := master.amongServers("--tls-replication")
	host, port, _ := net.SplitHostPort(at)
	replicas, err := master.replicas()
	if err != nil {
		return nil, err
	}
	for i := range n {
		config := filepath.Join(dir, fmt.Sprintf("sentinel-%d.conf", i)) // which they write to
		watch := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s %[4]d\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 2000\n",
			MasterName, host, port, n/2+1)
		if password := master.setting("--requirepass"); password != "" {
			watch += fmt.Sprintf("sentinel auth-pass %s %s\n", MasterName, password)
		}
		if err := os.WriteFile(config, []byte(watch), 0o600); err != nil {
			return sentinels, fmt.Errorf("start sentinel: %w", err)
		}
		s, err := start(dir, append([]string{config, "--sentinel"}, settings...))
		if s != nil {
			sentinels = append(sentinels, s)
		}
		if err != nil {
			return sentinels, err
		}
	}
	for _, s := range sentinels {
		err := s.Wait("the Sentinels know each other and the replicas", func(ctx context.Context, c *redis.Client) (bool, error) {
			info, err := c.Info(ctx, "sentinel").Result()
			return strings.Contains(info, fmt.Sprintf("status=ok,address=%s,slaves=%d,sentinels=%d", at, replicas, n)), err
		})
		if err != nil {
			return sentinels, err
		}
	}
	return sentinels, nil
}

// replicas counts those that follow the server.
func (s *Server) replicas() (n int, err error) {
	err = s.Wait("it tells its replicas", func(ctx context.Context, c *redis.Client) (bool, error) {
		info, err := c.Info(ctx, "replication").Result()
		_, after, told := strings.Cut(info, "connected_slaves:")
		if told {
			_, err = fmt.Sscan(after, &n)
		}
		return told, err
	})
	return n, err
}
