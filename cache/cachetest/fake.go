package cachetest

import (
	"fmt"
	"net"
	"sync"

	miniserver "github.com/alicebob/miniredis/v2/server"
)

// FakeSentinel tells of a master as a Sentinel does, and of nothing else.
type FakeSentinel struct {
	Addr string // host:port

	server *miniserver.Server

	mu       sync.Mutex // guards all below
	master   string     // host:port; empty: none of that name
	password string     // empty: none
	known    map[*miniserver.Peer]bool
	hangUp   bool // when it is asked
	asked    int
}

// StartFakeSentinel starts one inside the process. The master is host:port, or empty if it knows none of MasterName. Close
// ends it.
func StartFakeSentinel(master string) (*FakeSentinel, error) {
	server, err := miniserver.NewServer("127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start fake sentinel: %w", err)
	}
	s := &FakeSentinel{Addr: server.Addr().String(), server: server, master: master, known: map[*miniserver.Peer]bool{}}
	for command, do := range map[string]miniserver.Cmd{
		"PING": func(c *miniserver.Peer, _ string, _ []string) { c.WriteInline("PONG") },
		"SUBSCRIBE": func(c *miniserver.Peer, _ string, channels []string) {
			for i, channel := range channels {
				c.WriteLen(3)
				c.WriteBulk("subscribe")
				c.WriteBulk(channel)
				c.WriteInt(i + 1)
			}
		},
		"AUTH":     s.auth,
		"SENTINEL": s.answer,
	} {
		if err := server.Register(command, do); err != nil {
			server.Close()
			return nil, fmt.Errorf("start fake sentinel: %w", err)
		}
	}
	return s, nil
}

// Close ends it.
func (s *FakeSentinel) Close() { s.server.Close() }

func (s *FakeSentinel) auth(c *miniserver.Peer, _ string, args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[c] = args[len(args)-1] == s.password; !s.known[c] {
		c.WriteError("WRONGPASS invalid username-password pair or user is disabled.")
		return
	}
	c.WriteOK()
}

func (s *FakeSentinel) answer(c *miniserver.Peer, _ string, args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.password != "" && !s.known[c] {
		c.WriteError("NOAUTH Authentication required.")
		return
	}
	if args[0] != "get-master-addr-by-name" {
		c.WriteLen(0) // it knows no other Sentinel
		return
	}
	s.asked++
	host, port, err := net.SplitHostPort(s.master)
	switch {
	case s.hangUp:
		c.Close()
	case err != nil || args[1] != MasterName:
		c.WriteNull()
	default:
		c.WriteStrings([]string{host, port})
	}
}

// Require makes it answer only those who show the password.
func (s *FakeSentinel) Require(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
}

// HangUp makes it end the connection of whoever asks.
func (s *FakeSentinel) HangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp = true
}

// Asked returns how often it was asked where the master is.
func (s *FakeSentinel) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}
