package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// image is what `docker save` writes of an image.
type image struct {
	Architecture string
	Config       struct {
		User, WorkingDir     string
		Env, Entrypoint, Cmd []string
		Labels               map[string]string
		Healthcheck          struct{ Test []string }
		ExposedPorts         map[string]any
		Volumes              map[string]any
	}

	size   int
	layers [][]byte // each a tar
}

// readImage reads the image for a processor from the folder that SLOTSYNC_TEST_IMAGE names.
func readImage(t *testing.T, arch string) *image {
	t.Helper()
	dir := os.Getenv("SLOTSYNC_TEST_IMAGE")
	if dir == "" {
		t.Skip("there is no image to look at: .ci/image builds one and runs this")
	}
	archive, err := os.ReadFile(filepath.Join(dir, arch+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	each(t, archive, func(h *tar.Header, content []byte) { parts[h.Name] = content })
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(parts["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest.json: %v, %d images", err, len(manifest))
	}
	im := &image{}
	if err := json.Unmarshal(parts[manifest[0].Config], im); err != nil {
		t.Fatal(err)
	}
	for _, name := range manifest[0].Layers {
		layer, there := parts[name]
		if !there {
			t.Fatalf("layer %s is missing", name)
		}
		im.layers = append(im.layers, layer)
		im.size += len(layer)
	}
	return im
}

// each goes through a tar.
func each(t *testing.T, archive []byte, visit func(*tar.Header, []byte)) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		visit(h, content)
	}
}

// content lists what is in the image, a line each, and returns the files.
func (im *image) content(t *testing.T) (list []string, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{}
	seen := map[string]string{}
	for _, layer := range im.layers {
		each(t, layer, func(h *tar.Header, content []byte) {
			name := "/" + strings.Trim(h.Name, "/")
			line := fmt.Sprintf("%s %d:%d %s", h.FileInfo().Mode(), h.Uid, h.Gid, name)
			if h.Linkname != "" {
				line += " -> " + h.Linkname
			}
			seen[name] = line
			files[name] = content
		})
	}
	return slices.Sorted(maps.Values(seen)), files
}

// unpack writes the image's content below a new folder.
func (im *image) unpack(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, layer := range im.layers {
		cmd := exec.CommandContext(t.Context(), "tar", "--extract", "--same-owner", "--same-permissions", "--directory", root)
		cmd.Stdin = bytes.NewReader(layer)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("unpack: %v\n%s", err, out)
		}
	}
	// TempDir lets nobody else in.
	for dir := root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestImageHoldsTheWorkerCertificatesAndNothingElse(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			im := readImage(t, arch)
			got, files := im.content(t)
			t.Logf("%s, %.1f MB:\n%s", im.Architecture, float64(im.size)/1e6, strings.Join(got, "\n"))
			want := []string{
				"-rw-r--r-- 0:0 /etc/ssl/certs/ca-certificates.crt",
				"-rwxr-xr-x 0:0 /app/bin/slotsync",
				"Lrwxrwxrwx 0:0 /app/bin/slot_sync -> slotsync",
				"drwxr-xr-x 0:0 /app",
				"drwxr-xr-x 0:0 /app/bin",
				"drwxr-xr-x 0:0 /etc",
				"drwxr-xr-x 0:0 /etc/ssl",
				"drwxr-xr-x 0:0 /etc/ssl/certs",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if im.Architecture != arch {
				t.Errorf("it says that it is for %s", im.Architecture)
			}
			binary, err := elf.NewFile(bytes.NewReader(files["/app/bin/slotsync"]))
			if err != nil {
				t.Fatal(err)
			}
			if binary.Machine != machine {
				t.Errorf("the binary is for %s", binary.Machine)
			}
			for _, p := range binary.Progs {
				if p.Type == elf.PT_INTERP {
					t.Error("the binary needs a loader, which is not there")
				}
			}
			roots, rest := 0, files["/etc/ssl/certs/ca-certificates.crt"]
			for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(rest) {
				rest = more
				if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.NotAfter.After(time.Now()) {
					roots++
				}
			}
			if roots < 50 {
				t.Errorf("only %d certificates are valid", roots)
			}
		})
	}
}

func TestImageIsConfiguredAsItsUsersExpect(t *testing.T) {
	im := readImage(t, "amd64")
	c := im.Config
	for _, claim := range []struct {
		what      string
		got, want any
	}{
		{"user", c.User, "65532:65532"},
		{"folder", c.WorkingDir, "/app"},
		{"entrypoint", c.Entrypoint, []string{"/app/bin/slotsync"}},
		{"command", c.Cmd, []string{"foreground"}},
		{"health check", c.Healthcheck.Test, []string{"CMD", "/app/bin/slotsync", "health"}},
		{"address for probes", slices.Contains(c.Env, "HTTP_ADDR=127.0.0.1:8080"), true},
		{"open ports", len(c.ExposedPorts), 0},
		{"volumes", len(c.Volumes), 0},
		{"license", c.Labels["org.opencontainers.image.licenses"], "MIT"},
		{"length of the revision", len(c.Labels["org.opencontainers.image.revision"]), 40},
	} {
		if fmt.Sprint(claim.got) != fmt.Sprint(claim.want) {
			t.Errorf("%s: got %v, want %v", claim.what, claim.got, claim.want)
		}
	}
}

// container runs the image without an engine, in less than an engine gives: its root, which is read-only, has neither
// /proc nor /dev nor /tmp. It runs as the image's user, without capabilities or a way to new ones. Network and
// processes are this machine's.
type container struct {
	im   *image
	root string
	env  []string
}

// confine is for sh, with the root, folder, user and group before the command.
const confine = `root=$1 dir=$2 user=$3 group=$4; shift 4
mount --bind "$root" "$root" && mount -o remount,bind,ro,nosuid,nodev "$root" &&
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid \
	unshare --root="$root" --wd="$dir" --setgid="$group" --setuid="$user" -- "$@"`

func newContainer(t *testing.T, settings map[string]string) *container {
	t.Helper()
	im := readImage(t, "amd64")
	if os.Geteuid() != 0 {
		t.Fatal("only root can change the root and mount")
	}
	c := &container{im: im, root: im.unpack(t)}
	env := map[string]string{}
	for _, kv := range im.Config.Env {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	env["HTTP_ADDR"] = freeAddr(t) // the image's own may be taken on a machine that is shared
	maps.Copy(env, settings)
	for name, value := range env {
		c.env = append(c.env, name+"="+value)
	}
	return c
}

// command is a call in the container, to be started; without words it is the image's own.
func (c *container) command(t *testing.T, words ...string) *exec.Cmd {
	if len(words) == 0 {
		words = slices.Concat(c.im.Config.Entrypoint, c.im.Config.Cmd)
	}
	user, group, _ := strings.Cut(c.im.Config.User, ":")
	args := []string{"--mount", "--propagation=private", "sh", "-c", confine, "confine", c.root, c.im.Config.WorkingDir, user, group}
	cmd := exec.CommandContext(t.Context(), "unshare", append(args, words...)...)
	cmd.Env = append(slices.Clone(c.env), "PATH="+os.Getenv("PATH")) // for sh and the tools that lead there
	return cmd
}

// run returns what the call writes to both outputs, and its exit status.
func (c *container) run(t *testing.T, words ...string) (string, int) {
	t.Helper()
	cmd := c.command(t, words...)
	out, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

const inImage = "/app/bin/slotsync"

func TestImageTellsWhatItIs(t *testing.T) {
	c := newContainer(t, nil)
	out, code := c.run(t, inImage, "version")
	t.Log(out)
	if revision := c.im.Config.Labels["org.opencontainers.image.revision"]; code != 0 || !strings.Contains(out, "commit "+revision) {
		t.Errorf("exit %d, want 0 and commit %s, got\n%s", code, revision, out)
	}
	if out, code := c.run(t, inImage, "--once"); code != 2 || !strings.Contains(out, "WIW_KEY") {
		t.Errorf("without settings: exit %d, want 2, got\n%s", code, out)
	}
}

func TestImageDoesAPassOverTLSWithItsOwnRootsAndZones(t *testing.T) {
	w := start(t, world.Options{Shifts: 300, Partitions: 3})
	// An API behind TLS, whose certificate no authority has signed but itself.
	api := httptest.NewUnstartedServer(w.API)
	api.Config.ErrorLog = log.New(io.Discard, "", 0) // that its certificate is refused is expected
	api.StartTLS()
	t.Cleanup(api.Close)
	settings := w.Env()
	settings["WIW_URL"] = api.URL
	settings["TZ"] = "Asia/Kathmandu" // nowhere else is it 5:45
	c := newContainer(t, settings)

	out, code := c.run(t, inImage, "--once")
	if code != 1 || !strings.Contains(out, "unknown authority") {
		t.Errorf("a certificate that no root has signed: exit %d, want 1, got\n%s", code, out)
	}

	roots, err := os.OpenFile(filepath.Join(c.root, "etc/ssl/certs/ca-certificates.crt"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = pem.Encode(roots, &pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	if err := errors.Join(err, roots.Close()); err != nil {
		t.Fatal(err)
	}
	out, code = c.run(t, inImage, "--once")
	t.Log(out)
	if code != 0 {
		t.Errorf("with it among the roots: exit %d, want 0, got\n%s", code, out)
	}
	inStep(t, w)
	if !strings.Contains(out, "+05:45") {
		t.Errorf("its log does not tell the time of TZ:\n%s", out)
	}
}

func TestImageIsHealthyWhileItWorksAndEndsWhenAsked(t *testing.T) {
	w := start(t, world.Options{Shifts: 300, Partitions: 3})
	c := newContainer(t, w.Env())
	if out, code := c.run(t, inImage, "health"); code != 1 {
		t.Errorf("before it runs: exit %d, want 1, got\n%s", code, out)
	}
	for claim, words := range map[string][]string{
		"as the image says":     nil,
		"as slot_sync was told": {"./bin/slot_sync", "foreground"},
	} {
		t.Run(claim, func(t *testing.T) {
			cmd := c.command(t, words...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			log := readUntil(stderr, `"msg":"pass done"`)
			if t.Failed() || !strings.Contains(log, `"result":"ok"`) {
				t.Errorf("the first pass was not ok:\n%s", log)
			}
			for _, probe := range [][]string{{"health"}, {"health", "--ready"}} {
				out, code := c.run(t, append([]string{inImage}, probe...)...)
				t.Logf("%s: %s", strings.Join(probe, " "), strings.TrimSpace(out))
				if code != 0 {
					t.Errorf("%v: exit %d, want 0, got\n%s", probe, code, out)
				}
			}
			confined(t, cmd.Process.Pid)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(stderr)
			if err := cmd.Wait(); err != nil {
				t.Errorf("a stop is no failure: got %v\n%s%s", err, log, rest)
			}
		})
	}
}

// readUntil returns what r gives, up to the line that has the text, or all if there is none.
func readUntil(r io.Reader, text string) string {
	var all strings.Builder
	one := make([]byte, 1) // no more than what is asked for: the rest is for another reader
	for line := ""; ; {
		n, err := r.Read(one)
		all.Write(one[:n])
		line += string(one[:n])
		if err != nil {
			return all.String()
		}
		if one[0] == '\n' {
			if strings.Contains(line, text) {
				return all.String()
			}
			line = ""
		}
	}
}

// confined looks from outside at what the process may do.
func confined(t *testing.T, pid int) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", pid)
	status, err := os.ReadFile(path.Join(proc, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "Groups:\t \n", "NoNewPrivs:\t1",
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%q is not in its status:\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile(path.Join(proc, "mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(mounts)); lines.Scan(); {
		// id, parent, device, root, mount point, options; its root is the only mount that it can reach
		if f := strings.Fields(lines.Text()); f[4] != "/" || !slices.Contains(strings.Split(f[5], ","), "ro") {
			t.Errorf("it can reach a mount that is not a read-only root: %s", lines.Text())
		}
	}
}
