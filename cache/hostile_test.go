package cache_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// answering starts a server that gives the first command of a connection the first answer, if there is one, and all
// further ones the other. After an answer that announces more, it says nothing more.
func answering(t *testing.T, first, further string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			serving.Go(func() {
				defer c.Close()
				r, answer := bufio.NewReader(c), first
				if first == "" {
					answer = further
				}
				for {
					command, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasPrefix(command, "*") { // one for each command, whose parts follow
						if _, err := io.WriteString(c, answer); err != nil {
							return
						}
						answer = further
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String()
}

// A server that announces more than it could ever send costs a connection and no memory, be it that it means harm or
// that it is none.
func TestWhatIsAnnouncedIsNotBelieved(t *testing.T) {
	const hello = "%1\r\n+server\r\n+redis\r\n" // the first answer that a connection gets
	for _, c := range []struct{ claim, answer string }{
		{"a text of a gigabyte", "$1073741824\r\n"},
		{"a text without an end", "$9223372036854775800\r\n"},
		{"a text beyond all numbers", "$99999999999999999999999\r\n"},
		{"an error of a gigabyte", "!1073741824\r\n"},
		{"a list of a billion", "*1000000000\r\n"},
		{"a list beyond all numbers", "*99999999999999999999999\r\n"},
		{"pairs by the million", "%100000000\r\n"},
		{"an attribute by the million", "|100000000\r\n"},
		{"a list of lists of lists", strings.Repeat("*1\r\n", 1<<20)},
		{"lists that grow together", strings.Repeat("*1000000\r\n", 10)},
		{"a line without an end", "+" + strings.Repeat("x", 1<<20)},
		{"an error without an end", "-" + strings.Repeat("x", 1<<20)},
	} {
		for _, first := range []string{"", hello} {
			r := cache.New(dial(t, cache.Config{URL: answering(t, first, c.answer)}), "d")
			before := allocated()
			_, err := r.Acquire(t.Context(), shiftsync.Owner{Token: "t"}, ttl)
			if err == nil || !strings.Contains(err.Error(), "announces more than any answer has") || strings.Contains(err.Error(), "xxx") {
				t.Errorf("%s, after %q: got %.300v", c.claim, first, err)
			}
			if took := allocated() - before; took > 16<<20 {
				t.Errorf("%s, after %q: it cost %d MiB", c.claim, first, took>>20)
			}
		}
	}
}

// When an answer is not understood, it may be because we are in the middle of another one, which is nobody's business.
func TestWhatIsNotUnderstoodIsNotQuoted(t *testing.T) {
	const hello = "%1\r\n+server\r\n+redis\r\n"
	for _, answer := range []string{"?a s3cr3t note\r\n", "a s3cr3t note\r\n", "s\n", "*x s3cr3t\r\n", "$s3cr3t\r\n", ":s3cr3t\r\n", "#s3cr3t\r\n", ",s3cr3t\r\n", "$3\r\ns3cr3t\r\n", "*2\r\n$6\r\ns3cr3t\r\n?s3cr3t\r\n"} {
		for _, first := range []string{"", hello} {
			r := cache.New(dial(t, cache.Config{URL: answering(t, first, answer)}), "d", cache.Timeout(300*time.Millisecond))
			term := shiftsync.Term{Owner: "t", Claim: "c"}
			_, errAcquire := r.Acquire(t.Context(), shiftsync.Owner{Token: "t"}, ttl)
			_, _, errOpen := r.Open(t.Context(), 0)
			_, errIntend := r.Intend(t.Context(), term, []shiftsync.Intent{{Record: shiftsync.Record{ID: 1}}})
			_, errEnds := r.Ends(t.Context())
			errLookup := r.Lookup(t.Context(), []shiftsync.Sighting{{ID: 1}}, make([]shiftsync.Known, 1))
			for _, err := range []error{errAcquire, errOpen, errIntend, errEnds, errLookup} {
				if err != nil && (strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "note")) {
					t.Errorf("%q after %q: got %v", answer, first, err)
				}
			}
			if errAcquire == nil && errOpen == nil {
				t.Errorf("%q after %q: it was understood", answer, first)
			}
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// However the bytes arrive, what is right passes as it is, and what is in a text is not taken for an announcement.
func TestWhatIsRightIsNotMeasuredWrong(t *testing.T) {
	answers := []string{
		"+OK\r\n", "-ERR no 99999999999999999999\r\n", ":9223372036854775807\r\n", ":-1\r\n", "(99999999999999999999999999\r\n", ",1.5\r\n", "#t\r\n", "_\r\n",
		"$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "$26\r\n*9999999999999\r\n$99999999\r\n", "=15\r\ntxt:Some string\r\n", "!9\r\nSYNTAX no\r\n",
		"*2\r\n$1\r\n0\r\n*4\r\n$2\r\nid\r\n$3\r\n\r\n*\r\n*0\r\n*1\r\n:1\r\n", "%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%0\r\n",
		"|1\r\n+ttl\r\n:3600\r\n*2\r\n:1\r\n:2\r\n", ">2\r\n+message\r\n$3\r\nabc\r\n", "~1\r\n+a\r\n", "*100\r\n" + strings.Repeat("*0\r\n", 100),
		"$" + fmt.Sprint(1<<17) + "\r\n" + strings.Repeat("*", 1<<17) + "\r\n",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var sent strings.Builder
		for range 40 {
			sent.WriteString(answers[r.IntN(len(answers)-1)])
		}
		sent.WriteString(answers[len(answers)-1])
		whole := sent.String()
		size := 1 + r.IntN(9)
		c := cache.Measured(pieces{strings.NewReader(whole + "*9999999\r\n"), size})
		got, err := io.ReadAll(c)
		if err == nil || err == io.EOF || !strings.HasPrefix(whole+"*9999999\r", string(got)) || len(got) < len(whole) {
			t.Fatalf("in pieces of %d: got %d of %d bytes, then %v, of %.300q", size, len(got), len(whole), err, whole)
		}
	}
}

// pieces is a connection that brings some bytes at a time.
type pieces struct {
	io.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error)       { return p.Reader.Read(b[:min(p.size, len(b))]) }
func (pieces) Write([]byte) (int, error)          { return 0, io.ErrClosedPipe }
func (pieces) Close() error                       { return nil }
func (pieces) LocalAddr() net.Addr                { return nil }
func (pieces) RemoteAddr() net.Addr               { return nil }
func (pieces) SetDeadline(time.Time) error        { return nil }
func (pieces) SetReadDeadline(t time.Time) error  { return nil }
func (pieces) SetWriteDeadline(t time.Time) error { return nil }
