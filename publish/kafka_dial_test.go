package publish_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/publish"
)

func TestAServerThatSpeaksHTTPIsNoBroker(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	kafka, err := publish.NewKafka([]string{strings.TrimPrefix(server.URL, "http://")}, "shifts", publish.KafkaOptions{Limit: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	if _, err := kafka.ClusterID(t.Context()); err == nil || !strings.Contains(err.Error(), "answers in HTTP") {
		t.Errorf("got %v", err)
	}
}
