package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// kustomization has the fields that we use of Kustomize's.
type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Resources       []string `json:"resources"`
	Images          []struct {
		Name    string `json:"name"`
		NewName string `json:"newName"`
		NewTag  string `json:"newTag"`
	} `json:"images"`
}

// manifest reads a file of one document, every field of which must be known to its kind.
func manifest[T any](t *testing.T, file string) *T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("kubernetes", file))
	if err != nil {
		t.Fatal(err)
	}
	into := new(T)
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return into
}

// workload is what runs pods.
type workload struct {
	file string
	pod  corev1.PodTemplateSpec
	once bool
}

func workloads(t *testing.T) []workload {
	t.Helper()
	return []workload{
		{"deployment.yaml", manifest[appsv1.Deployment](t, "deployment.yaml").Spec.Template, false},
		{"cronjob.yaml", manifest[batchv1.CronJob](t, "cronjob.yaml").Spec.JobTemplate.Spec.Template, true},
	}
}

func TestEachManifestIsReadStrictly(t *testing.T) {
	for file, kind := range map[string]struct {
		want string
		got  metav1.TypeMeta
	}{
		"kustomization.yaml":       {"kustomize.config.k8s.io/v1beta1 Kustomization", manifest[kustomization](t, "kustomization.yaml").TypeMeta},
		"configmap.yaml":           {"v1 ConfigMap", manifest[corev1.ConfigMap](t, "configmap.yaml").TypeMeta},
		"deployment.yaml":          {"apps/v1 Deployment", manifest[appsv1.Deployment](t, "deployment.yaml").TypeMeta},
		"cronjob.yaml":             {"batch/v1 CronJob", manifest[batchv1.CronJob](t, "cronjob.yaml").TypeMeta},
		"poddisruptionbudget.yaml": {"policy/v1 PodDisruptionBudget", manifest[policyv1.PodDisruptionBudget](t, "poddisruptionbudget.yaml").TypeMeta},
		"redis-tls.yaml":           {"apps/v1 Deployment", manifest[appsv1.Deployment](t, "redis-tls.yaml").TypeMeta},
		"networkpolicy.yaml":       {"networking.k8s.io/v1 NetworkPolicy", manifest[networkingv1.NetworkPolicy](t, "networkpolicy.yaml").TypeMeta},
	} {
		if got := kind.got.APIVersion + " " + kind.got.Kind; got != kind.want {
			t.Errorf("%s: got %s, want %s", file, got, kind.want)
		}
	}
	entries, err := os.ReadDir("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	listed := append(manifest[kustomization](t, "kustomization.yaml").Resources, "kustomization.yaml", "cronjob.yaml", "redis-tls.yaml")
	slices.Sort(listed)
	var there []string
	for _, entry := range entries {
		there = append(there, entry.Name())
	}
	if !slices.Equal(there, listed) {
		t.Errorf("the folder has %v, the kustomization and this test know %v", there, listed)
	}
}

func TestNamesAndLabelsMeet(t *testing.T) {
	deployment := manifest[appsv1.Deployment](t, "deployment.yaml")
	labels := deployment.Spec.Template.Labels
	once := manifest[batchv1.CronJob](t, "cronjob.yaml").Spec.JobTemplate.Spec.Template.Labels
	spread := deployment.Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 1 {
		t.Fatalf("got %d topology spread constraints", len(spread))
	}
	selects := func(s *metav1.LabelSelector, labels map[string]string) bool {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return !selector.Empty() && selector.Matches(k8slabels.Set(labels))
	}
	network := manifest[networkingv1.NetworkPolicy](t, "networkpolicy.yaml").Spec.PodSelector
	for _, c := range []struct {
		claim     string
		got, want bool
	}{
		{"the deployment selects its pods", selects(deployment.Spec.Selector, labels), true},
		{"and not the cron job's", selects(deployment.Spec.Selector, once), false},
		{"the pods are spread apart from each other", selects(spread[0].LabelSelector, labels), true},
		{"the disruption budget counts them", selects(manifest[policyv1.PodDisruptionBudget](t, "poddisruptionbudget.yaml").Spec.Selector, labels), true},
		{"and not the cron job's", selects(manifest[policyv1.PodDisruptionBudget](t, "poddisruptionbudget.yaml").Spec.Selector, once), false},
		{"the network policy holds for the worker", selects(&network, labels), true},
		{"and for the cron job", selects(&network, once), true},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v", c.claim, c.got)
		}
	}
	config := manifest[corev1.ConfigMap](t, "configmap.yaml")
	images := manifest[kustomization](t, "kustomization.yaml").Images
	for _, w := range workloads(t) {
		c := container(t, w)
		if len(c.EnvFrom) != 1 || c.EnvFrom[0].ConfigMapRef == nil || c.EnvFrom[0].ConfigMapRef.Name != config.Name {
			t.Errorf("%s does not take its settings from configmap %s", w.file, config.Name)
		}
		if !w.once && (len(images) != 1 || images[0].Name != c.Image) {
			t.Errorf("%s: the kustomization does not say where image %s is", w.file, c.Image)
		}
		if w.once && c.Image != images[0].NewName+":"+images[0].NewTag {
			t.Errorf("%s: got image %s, want the kustomization's", w.file, c.Image)
		}
	}
}

func TestThePatchForTLSFitsTheDeployment(t *testing.T) {
	whole, patch := manifest[appsv1.Deployment](t, "deployment.yaml"), manifest[appsv1.Deployment](t, "redis-tls.yaml")
	pod := patch.Spec.Template.Spec
	c, of := container(t, workload{"redis-tls.yaml", patch.Spec.Template, false}), container(t, workloads(t)[0])
	if patch.Name != whole.Name || c.Name != of.Name {
		t.Errorf("it is for %s/%s, not for %s/%s", patch.Name, c.Name, whole.Name, of.Name)
	}
	if len(pod.Volumes) != 1 || len(c.VolumeMounts) != 1 || pod.Volumes[0].Name != c.VolumeMounts[0].Name || c.VolumeMounts[0].SubPath != "" {
		t.Fatalf("got the volumes %v and the mounts %v, want one, whole", pod.Volumes, c.VolumeMounts)
	}
	for _, v := range whole.Spec.Template.Spec.Volumes {
		if v.Name == pod.Volumes[0].Name {
			t.Errorf("the volume %s is there already", v.Name)
		}
	}
	for _, v := range c.Env {
		known(t, "redis-tls.yaml", v.Name)
		if path.Dir(v.Value) != c.VolumeMounts[0].MountPath {
			t.Errorf("%s is %s, which is not mounted", v.Name, v.Value)
		}
	}
	if len(c.Env) != 3 {
		t.Errorf("got %d settings", len(c.Env))
	}
}

func container(t *testing.T, w workload) corev1.Container {
	t.Helper()
	if len(w.pod.Spec.Containers) != 1 {
		t.Fatalf("%s: %d containers", w.file, len(w.pod.Spec.Containers))
	}
	return w.pod.Spec.Containers[0]
}

func TestEachVariableIsASetting(t *testing.T) {
	data := manifest[corev1.ConfigMap](t, "configmap.yaml").Data
	known(t, "configmap.yaml", slices.Collect(maps.Keys(data))...)
	for _, w := range workloads(t) {
		c := container(t, w)
		for _, v := range c.Env {
			known(t, w.file, v.Name)
			if _, twice := data[v.Name]; twice {
				t.Errorf("%s sets %s, and so does the config map", w.file, v.Name)
			}
		}
	}
	for name := range data {
		if strings.Contains(name, "PASSWORD") || strings.Contains(name, "TOKEN") || strings.HasPrefix(name, "WIW_KEY") {
			t.Errorf("%s is a secret and stands in the config map", name)
		}
	}
}

func TestWhatIsCommentedOutIsASettingToo(t *testing.T) {
	for _, file := range []string{"kubernetes/configmap.yaml", "kubernetes-kafka/configmap.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, found := range regexp.MustCompile(`(?m)^  # ([A-Z][A-Z0-9_]+): .`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, found[1])
		}
		if len(names) < 5 {
			t.Errorf("%s: only %q are commented out", file, names)
		}
		known(t, file, names...)
	}
}

// Each secret is a file that is mounted where its variable says, and may be read by the user.
func TestSecretsAreFiles(t *testing.T) {
	for _, w := range workloads(t) {
		c := container(t, w)
		if len(c.VolumeMounts) != 1 || len(w.pod.Spec.Volumes) != 1 || w.pod.Spec.Volumes[0].Secret == nil {
			t.Fatalf("%s: one volume with secrets was to be mounted", w.file)
		}
		mount, volume := c.VolumeMounts[0], w.pod.Spec.Volumes[0]
		if mount.Name != volume.Name || !mount.ReadOnly {
			t.Errorf("%s: mount %+v is not a read-only one of volume %s", w.file, mount, volume.Name)
		}
		var files, named []string
		for _, item := range volume.Secret.Items {
			files = append(files, path.Join(mount.MountPath, item.Path))
		}
		for _, v := range c.Env {
			if strings.HasSuffix(v.Name, "_FILE") {
				named = append(named, v.Value)
			}
			if v.ValueFrom != nil {
				t.Errorf("%s: %s puts a secret into the environment", w.file, v.Name)
			}
		}
		slices.Sort(files)
		slices.Sort(named)
		if len(named) == 0 || !slices.Equal(files, named) {
			t.Errorf("%s: the variables name %v, the secret has %v", w.file, named, files)
		}
		if mode := volume.Secret.DefaultMode; mode == nil || *mode != 0o440 {
			t.Errorf("%s: the secrets' mode is not 0440", w.file)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	volume := workloads(t)[0].pod.Spec.Volumes[0].Secret
	// The files are made in a folder of their own: in the clone they would be committed or built into an image one day.
	want := "kubectl create secret generic " + volume.SecretName
	for _, item := range volume.Items {
		want += ` --from-file="$secrets/` + item.Key + `"`
	}
	if !strings.Contains(string(readme), want+"\n") || !strings.Contains(string(readme), "\nsecrets=$(mktemp -d)\n") {
		t.Errorf("the README does not tell how the secret is made: %s", want)
	}
}

func TestPodsAreConfined(t *testing.T) {
	user := dockerfile(t, "USER")
	for _, w := range workloads(t) {
		pod, c := w.pod.Spec, container(t, w)
		if pod.SecurityContext == nil || c.SecurityContext == nil || c.SecurityContext.Capabilities == nil || pod.SecurityContext.SeccompProfile == nil {
			t.Fatalf("%s: a security context is missing", w.file)
		}
		off := func(b *bool) bool { return b != nil && !*b }
		on := func(b *bool) bool { return b != nil && *b }
		id := func(n *int64) int64 {
			if n == nil {
				return -1
			}
			return *n
		}
		for claim, holds := range map[string]bool{
			"is not root":                   on(pod.SecurityContext.RunAsNonRoot),
			"runs as the image's user":      fmt.Sprintf("%d:%d", id(pod.SecurityContext.RunAsUser), id(pod.SecurityContext.RunAsGroup)) == user,
			"may read the secrets":          fmt.Sprint(id(pod.SecurityContext.FSGroup)) == path.Base(strings.ReplaceAll(user, ":", "/")),
			"has a seccomp profile":         pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
			"has a read-only root":          on(c.SecurityContext.ReadOnlyRootFilesystem),
			"gains no privilege":            off(c.SecurityContext.AllowPrivilegeEscalation),
			"has no capability":             slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) && c.SecurityContext.Capabilities.Add == nil,
			"knows nothing of the cluster":  off(pod.AutomountServiceAccountToken),
			"is not given services' names":  off(pod.EnableServiceLinks),
			"has time for its stop":         time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second > stopTimeout(t),
			"does not share the host's net": !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
		} {
			if !holds {
				t.Errorf("%s: it is not true that a pod %s", w.file, claim)
			}
		}
	}
}

// Go's own limit has to lie below the container's, and above what was measured.
func TestMemoryIsLimited(t *testing.T) {
	measured := resource.MustParse("35M")
	for _, w := range workloads(t) {
		c := container(t, w)
		limit := c.Resources.Limits.Memory()
		for _, v := range c.Env {
			if v.Name != "GOMEMLIMIT" {
				continue
			}
			soft := resource.MustParse(strings.TrimSuffix(v.Value, "B")) // Go writes MiB, Kubernetes Mi
			if soft.Cmp(*limit) >= 0 || soft.Cmp(measured) <= 0 {
				t.Errorf("%s: GOMEMLIMIT %s is not between %s and the limit %s", w.file, v.Value, &measured, limit)
			}
		}
		if c.Resources.Requests.Memory().Cmp(measured) < 0 || c.Resources.Limits.Cpu().Sign() != 0 {
			t.Errorf("%s: resources are %+v", w.file, c.Resources)
		}
	}
}

func TestProbesAskTheWorker(t *testing.T) {
	var entrypoint []string
	if err := json.Unmarshal([]byte(dockerfile(t, "ENTRYPOINT")), &entrypoint); err != nil || len(entrypoint) != 1 {
		t.Fatalf("entrypoint %v, %v", entrypoint, err)
	}
	c := container(t, workloads(t)[0])
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
		want  []string
	}{
		{"liveness", c.LivenessProbe, []string{entrypoint[0], "health"}},
		{"readiness", c.ReadinessProbe, []string{entrypoint[0], "health", "--ready"}},
	} {
		if p.probe == nil || p.probe.Exec == nil || !slices.Equal(p.probe.Exec.Command, p.want) {
			t.Errorf("%s: got %+v, want %v", p.name, p.probe, p.want)
			continue
		}
		if p.probe.TimeoutSeconds < 3 {
			t.Errorf("%s has %d s for an answer that may take 2 s", p.name, p.probe.TimeoutSeconds)
		}
	}
	if c.Command != nil {
		t.Errorf("the deployment replaces the entrypoint with %v", c.Command)
	}
	if help := helpPage(t); !strings.Contains(help, " health ") || !strings.Contains(help, "HTTP_ADDR") {
		t.Error("the program has no command health, or no HTTP_ADDR")
	}
	if env := dockerfile(t, "ENV"); !strings.HasPrefix(env, "HTTP_ADDR=") {
		t.Errorf("the image does not set HTTP_ADDR but %s", env)
	}
}

func TestTheCronJobKnowsTheExitCodes(t *testing.T) {
	job := manifest[batchv1.CronJob](t, "cronjob.yaml").Spec
	if job.ConcurrencyPolicy != batchv1.ForbidConcurrent {
		t.Errorf("concurrency policy: got %s", job.ConcurrencyPolicy)
	}
	spec := job.JobTemplate.Spec
	if !slices.Equal(container(t, workloads(t)[1]).Args, []string{"--once"}) {
		t.Error("it does not do one pass")
	}
	if spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("restart policy %s: a pod failure policy is for Never", spec.Template.Spec.RestartPolicy)
	}
	if spec.BackoffLimit == nil || *spec.BackoffLimit < 1 || spec.PodFailurePolicy == nil {
		t.Fatal("it is not tried again, or always")
	}
	var fatal []int32
	for _, rule := range spec.PodFailurePolicy.Rules {
		if codes := rule.OnExitCodes; codes != nil {
			if codes.ContainerName == nil || *codes.ContainerName != spec.Template.Spec.Containers[0].Name || codes.Operator != batchv1.PodFailurePolicyOnExitCodesOpIn {
				t.Errorf("rule %+v is not for the container", rule)
			}
			if rule.Action == batchv1.PodFailurePolicyActionFailJob {
				fatal = append(fatal, codes.Values...)
			}
		}
	}
	if !slices.Equal(fatal, []int32{2}) {
		t.Errorf("exit codes that end the job at once: got %v, want 2 alone", fatal)
	}
}

func TestOneWorksAndOneStandsBy(t *testing.T) {
	d := manifest[appsv1.Deployment](t, "deployment.yaml").Spec
	if d.Replicas == nil || *d.Replicas != 2 {
		t.Errorf("replicas: got %v, want 2", d.Replicas)
	}
	if budget := manifest[policyv1.PodDisruptionBudget](t, "poddisruptionbudget.yaml").Spec; budget.MaxUnavailable == nil || budget.MaxUnavailable.IntValue() != 1 {
		t.Errorf("disruption budget: got %+v, want one at a time", budget)
	}
}
