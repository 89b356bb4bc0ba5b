package deploy_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// patch reads a patch, every field of which must be known to its kind.
func patch[T any](t *testing.T, file string) *T {
	t.Helper()
	return manifest[T](t, filepath.Join("..", "kubernetes-kafka", file))
}

func TestTheSecretsOfKafkaAreFilesThatCanBeReplaced(t *testing.T) {
	base, over := manifest[appsv1.Deployment](t, "deployment.yaml"), patch[appsv1.Deployment](t, "deployment.yaml")
	config, settings := manifest[corev1.ConfigMap](t, "configmap.yaml"), patch[corev1.ConfigMap](t, "configmap.yaml")
	pod := over.Spec.Template
	c := container(t, workload{"the patch", pod, false})
	if over.Name != base.Name || config.Name != settings.Name || c.Name != base.Spec.Template.Spec.Containers[0].Name {
		t.Error("a patch is for something that is not there")
	}
	if len(pod.Spec.Volumes) != 1 || len(c.VolumeMounts) != 1 || pod.Spec.Volumes[0].Secret == nil {
		t.Fatal("one volume with secrets was to be mounted")
	}
	mount, volume := c.VolumeMounts[0], pod.Spec.Volumes[0]
	if mount.Name != volume.Name || mount.SubPath != "" || !mount.ReadOnly || volume.Secret.DefaultMode == nil || *volume.Secret.DefaultMode != 0o440 {
		t.Errorf("mount %+v of %s is not read-only, or not replaced with the secret", mount, volume.Name)
	}
	var files, named []string
	for _, item := range volume.Secret.Items {
		files = append(files, path.Join(mount.MountPath, item.Path))
	}
	for _, v := range c.Env {
		known(t, "the patch", v.Name)
		named = append(named, v.Value)
	}
	for name, value := range settings.Data {
		known(t, "the patch", name)
		if strings.HasPrefix(value, "/run/secrets/") {
			named = append(named, value)
		}
	}
	slices.Sort(files)
	slices.Sort(named)
	if !slices.Equal(files, named) {
		t.Errorf("the settings name %v, mounted are %v", named, files)
	}
}

func TestTheNetworkPolicyLetsTheWorkerToThatKafka(t *testing.T) {
	text, err := os.ReadFile("kubernetes-kafka/networkpolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var operations []struct {
		Op, Path string
		Value    networkingv1.NetworkPolicyPort
	}
	if err := yaml.UnmarshalStrict(text, &operations); err != nil {
		t.Fatal(err)
	}
	brokers := patch[corev1.ConfigMap](t, "configmap.yaml").Data["KAFKA_BROKERS"]
	if len(operations) != 1 || operations[0].Op != "add" || operations[0].Path != "/spec/egress/0/ports/-" ||
		!strings.HasSuffix(brokers, ":"+operations[0].Value.Port.String()) {
		t.Errorf("got %+v, want one port more, that of %s", operations, brokers)
	}
	if base := manifest[networkingv1.NetworkPolicy](t, "networkpolicy.yaml").Spec.Egress; len(base) != 1 {
		t.Errorf("the patched policy has %d rules, want the one", len(base))
	}
}

func TestThatKustomizationNamesItsPatches(t *testing.T) {
	text, err := os.ReadFile("kubernetes-kafka/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		kustomization `json:",inline"`
		Patches       []struct {
			Path   string            `json:"path"`
			Target map[string]string `json:"target"`
		} `json:"patches"`
	}
	if err := yaml.UnmarshalStrict(text, &k); err != nil {
		t.Fatal(err)
	}
	want := []string{"kustomization.yaml"}
	for _, p := range k.Patches {
		want = append(want, p.Path)
	}
	entries, err := os.ReadDir("kubernetes-kafka")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, entry := range entries {
		there = append(there, entry.Name())
	}
	slices.Sort(want)
	if !slices.Equal(there, want) || !slices.Equal(k.Resources, []string{"../kubernetes"}) {
		t.Errorf("the folder has %v, the kustomization names %v over %v", there, want, k.Resources)
	}
}
