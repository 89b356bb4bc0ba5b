package deploy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// project reads compose.yaml as Docker Compose does: against the schema of the specification, and with all that it
// checks between services.
func project(t *testing.T, env types.Mapping) (*types.Project, error) {
	t.Helper()
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  "..",
		ConfigFiles: []types.ConfigFile{{Filename: "../compose.yaml"}},
		Environment: env,
	}, func(o *loader.Options) { o.SetProjectName("slotsync", true) })
}

func TestCompose(t *testing.T) {
	if _, err := project(t, types.Mapping{}); err == nil || !strings.Contains(err.Error(), "WIW_KEY") {
		t.Errorf("without WIW_KEY: got %v, want an error that names it", err)
	}
	p, err := project(t, types.Mapping{"WIW_KEY": "made up"})
	if err != nil {
		t.Fatal(err)
	}
	worker := p.Services["slotsync"]
	known(t, "compose.yaml", slices.Collect(maps.Keys(worker.Environment))...)
	if worker.Build == nil || worker.Build.Target != "" || worker.Entrypoint != nil || worker.Command != nil {
		t.Error("the worker is not built and started as its Dockerfile says")
	}
	if !worker.ReadOnly || !slices.Equal(worker.CapDrop, []string{"ALL"}) {
		t.Error("the worker may write to its root, or has capabilities")
	}
	if worker.StopGracePeriod == nil || time.Duration(*worker.StopGracePeriod) <= stopTimeout(t) {
		t.Errorf("the worker has %v for its stop, which may take %v", worker.StopGracePeriod, stopTimeout(t))
	}
	for name, s := range p.Services {
		if name != "slotsync" {
			if _, tag, _ := strings.Cut(s.Image, ":"); tag == "" || strings.Contains(tag, "latest") || strings.Count(tag, ".") < 2 {
				t.Errorf("%s: image %s is not pinned", name, s.Image)
			}
		}
		for other, d := range s.DependsOn {
			switch d.Condition {
			case types.ServiceConditionHealthy:
				if p.Services[other].HealthCheck == nil {
					t.Errorf("%s waits for the health of %s, which is never checked", name, other)
				}
			case types.ServiceConditionCompletedSuccessfully:
				if p.Services[other].Restart != "no" {
					t.Errorf("%s waits for the end of %s, which starts again", name, other)
				}
			default:
				t.Errorf("%s waits for %s to have %s, which says little", name, other, d.Condition)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network", name, port.Published)
			}
		}
	}
	for _, variable := range []string{"KAFKA_BROKERS", "SCHEMA_REGISTRY_URL", "REDIS_URL"} {
		value := worker.Environment[variable]
		if value == nil || !slices.ContainsFunc(p.ServiceNames(), func(name string) bool { return strings.Contains(*value, name+":") }) {
			t.Errorf("%s names none of the services", variable)
		}
	}
	if topic := worker.Environment["KAFKA_TOPIC_NAME"]; topic == nil || !slices.Contains(p.Services["topic"].Command, "--topic="+*topic) {
		t.Error("the topic that is made is not the worker's")
	}
}
