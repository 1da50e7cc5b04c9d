package redistest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// slots is the number of slots of a cluster.
const slots = 16384

// StartCluster starts a cluster of n masters. The others keep serving when one is down.
func StartCluster(tb testing.TB, n int) []*Server {
	tb.Helper()
	all := make([]*Server, n)
	for i := range all {
		s := Start(tb, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--cluster-require-full-coverage", "no")
		s.MustDo("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(slots*i/n), strconv.Itoa(slots*(i+1)/n-1))
		s.MustDo("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		all[i] = s
	}
	for i, s := range all { // each with each: gossip would take longer
		for _, other := range all[i+1:] {
			s.MustDo("CLUSTER", "MEET", host, other.port())
		}
	}
	for _, s := range all {
		Await(tb, "the cluster is up", func() error {
			info := s.MustDo("CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d\r", slots)) {
				return errors.New(info)
			}
			return nil
		})
	}
	return all
}

// StartReplica starts a replica of a master and waits until it is in sync.
func StartReplica(tb testing.TB, master *Server) *Server {
	tb.Helper()
	master.MustDo("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	s := Start(tb, "--replicaof", host, master.port())
	Await(tb, "the replica follows", func() error {
		if info := s.MustDo("INFO", "replication"); !strings.Contains(info, "master_link_status:up") {
			return errors.New(info)
		}
		return nil
	})
	return s
}

// StartSentinel starts a Sentinel that monitors a master under this name, and waits
// until it knows that many replicas. One Sentinel decides alone.
func StartSentinel(tb testing.TB, name string, master *Server, replicas int) *Server {
	tb.Helper()
	s := start(tb, func(s *Server) []string {
		file := filepath.Join(s.dir, "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 5000\n", name, host, master.port())
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.tb.Fatal(err)
		}
		return []string{file, "--sentinel", "--port", s.port(), "--bind", host, "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log")}
	})
	Await(tb, "the sentinel knows the replicas", func() error {
		if info := s.MustDo("SENTINEL", "MASTER", name); !strings.Contains(info, fmt.Sprintf("num-slaves\n%d\n", replicas)) {
			return errors.New(info)
		}
		return nil
	})
	return s
}
