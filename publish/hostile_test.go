package publish_test

import (
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotsync/slotsync/publish"
)

// shouting starts a server that answers whatever it hears with the head, and then with the piece until nobody listens.
func shouting(t *testing.T, head, piece []byte) string {
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
				heard := make([]byte, 1<<10)
				if _, err := c.Read(heard); err != nil {
					return
				}
				if _, err := c.Write(head); err != nil {
					return
				}
				for len(piece) > 0 {
					if _, err := c.Write(piece); err != nil {
						return
					}
				}
				_, _ = c.Read(heard)
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String()
}

// Whatever KAFKA_BROKERS names by mistake says something that can be read as a length. It must cost neither the memory
// nor the program.
func TestAServerThatIsNoBrokerIsNotTakenForOne(t *testing.T) {
	const noBroker = "does not answer as a Kafka broker does"
	servers := map[string]struct{ head, piece, says string }{
		"a length of two gigabytes, and silence":       {"\x7f\xff\xff\xff", "", noBroker},
		"a length of two gigabytes, and what it takes": {"\x7f\xff\xff\xff", strings.Repeat("\x00", 1<<20), noBroker},
		"a negative length":                            {"\xff\xff\xff\xf0\x00\x00\x00\x01", strings.Repeat("\x00", 1<<10), noBroker},
		"no length":                                    {"\x00\x00\x00\x00", "\x00\x00\x00\x00", noBroker},
		"SSH":                                          {"SSH-2.0-OpenSSH_9.6\r\n", "", noBroker},
		"SMTP":                                         {"220 mail.example.invalid ESMTP\r\n", "", noBroker},
		"Redis":                                        {"-ERR unknown command\r\n", "", noBroker},
		"TLS, which hears no hello":                    {"\x15\x03\x01\x00\x02\x02\x46", "", "answers in TLS"},
	}
	before := allocated()
	var asking sync.WaitGroup
	for claim, c := range servers {
		addr := shouting(t, []byte(c.head), []byte(c.piece))
		asking.Go(func() {
			k, err := publish.NewKafka([]string{addr}, "shifts", publish.KafkaOptions{Limit: 2 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			defer k.Close()
			if _, err := k.ClusterID(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "KAFKA_BROKERS") {
				t.Errorf("%s: got %v", claim, err)
			}
		})
	}
	asking.Wait()
	if took := allocated() - before; took > 128<<20 {
		t.Errorf("it cost %d MiB", took>>20)
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestARegistryThatMeansHarmCostsLittle(t *testing.T) {
	piece := []byte(strings.Repeat(" ", 1<<20))
	for claim, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for err := error(nil); err == nil; {
				_, err = z.Write(piece)
			}
		}, "larger than 16 MiB"},
		"an answer without an end": {func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(piece)
			}
		}, "larger than 16 MiB"},
		"an error without an end": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			for err := error(nil); err == nil; {
				_, err = w.Write(piece)
			}
		}, "larger than 16 MiB"},
		"ten megabytes of it": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"id":1,"version":1,"schema":%q}`, strings.Repeat("x", 10<<20))
		}, ""},
		"ten megabytes of words": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(409)
			fmt.Fprintf(w, `{"error_code":409,"message":%q}`, strings.Repeat("x", 10<<20))
		}, "409 Conflict: xxx"},
		"lists in lists": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Repeat("[", 10<<20))
		}, "something other than a JSON"},
		"headers without an end": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 20_000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1000))
			}
		}, "headers exceeded"},
	} {
		before := allocated()
		_, err := registryAt(t, c.answer, publish.RegistryOptions{}).Latest(t.Context(), "s")
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 600) {
			t.Errorf("%s: got %.600v, want %q", claim, err, c.says)
		}
		// Of all that is made room for, by the server of the test too, much is thrown away at once.
		if took := allocated() - before; took > 300<<20 {
			t.Errorf("%s: it cost %d MiB", claim, took>>20)
		}
	}
}
