package publish_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/slotsync/slotsync/publish"
)

// A metadata service that gives no session token has to be asked in the older way, which anybody can get a process to do.
func TestAnInstanceIsAskedWithASessionTokenOnlyAndNothingIsWrittenPastTheLog(t *testing.T) {
	older := make(chan string, 100)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		older <- r.URL.Path
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(service.Close)
	settings := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": settings, "AWS_SHARED_CREDENTIALS_FILE": settings, "AWS_EC2_METADATA_DISABLED": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.URL, "AWS_EC2_METADATA_V1_DISABLED": "",
	} {
		t.Setenv(name, value)
	}
	stderr := captureStderr(t)
	_, err := publish.TokenOf(t.Context(), publish.AWSLogin("eu-west-1"), "kafka")
	wantSaid(t, err, "no AWS credentials")
	select {
	case path := <-older:
		t.Errorf("it was asked for %s without a session token", path)
	default:
	}
	if text := stderr(); text != "" {
		t.Errorf("stderr got %q", text)
	}
}

// captureStderr returns what is written to stderr from now on until it is asked.
func captureStderr(t *testing.T) func() string {
	t.Helper()
	before := os.Stderr
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = f
	back := func() { os.Stderr = before }
	t.Cleanup(func() { back(); f.Close() })
	return func() string {
		back()
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
}
