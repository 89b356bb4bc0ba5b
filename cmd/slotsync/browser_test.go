package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// browser is Chromium with the page open, as somebody on call has it.
type browser struct {
	ctx  context.Context
	base string

	mu      sync.Mutex // guards all below
	console []string
	asked   []string // addresses
}

// browse opens an address. Where there is no browser the test is not run, but make test-stack promises one.
func browse(t *testing.T, base string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	switch {
	case err == nil:
	case os.Getenv("SLOTSYNC_TEST_STACK") != "":
		t.Fatalf("nothing may be missing under SLOTSYNC_TEST_STACK: %v", err)
	default:
		t.Skip("there is no chromium: .ci/run installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, end := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // it reads nothing but our own page, and a container rarely lets it have one
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	t.Cleanup(end)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("end the browser: %v", err)
		}
	})
	b := &browser{ctx: ctx, base: base}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	listening, stop := context.WithCancel(ctx)
	t.Cleanup(func() { stop(); readers.Wait() })
	messages, requests := chromedp.Console(listening), chromedp.Events(listening, network.RequestWillBeSent)
	readers.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.console = append(b.console, fmt.Sprintf("%s: %s", m.Type, m.Text))
			b.mu.Unlock()
		}
	})
	readers.Go(func() {
		for r, err := range requests {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.asked = append(b.asked, r.Request.URL)
			b.mu.Unlock()
		}
	})
	b.do(t, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(base))
	return b
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func (b *browser) open(t *testing.T, address string) {
	t.Helper()
	b.do(t, chromedp.Navigate(address))
}

// eval returns what an expression gives in the page.
func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression is true in the page.
func (b *browser) until(t *testing.T, expression string) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for late := time.After(time.Minute); !eval[bool](t, b, expression); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s is not true within a minute of\n%s", expression, eval[string](t, b, "document.body.innerText"))
		}
	}
}

func (b *browser) untilHeadline(t *testing.T, text string) {
	t.Helper()
	quoted, _ := json.Marshal(text)
	b.until(t, fmt.Sprintf(`document.querySelector("h1").textContent.startsWith(%s)`, quoted))
}

// press presses keys one after the other.
func (b *browser) press(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		b.do(t, chromedp.KeyEvent(key))
	}
}

// readable fails if a text on the page has too little contrast in one of the themes, or if a narrow screen has to be
// scrolled sideways.
func (b *browser) readable(t *testing.T, state string) {
	t.Helper()
	for _, theme := range []string{"light", "dark"} {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			t.Fatal(err)
		}
		texts := eval[[]struct {
			Text                   string
			Color, Ground, Opacity string
			Ratio                  float64
		}](t, b, contrasts)
		if len(texts) < 20 {
			t.Errorf("%s: only %d texts were found", state, len(texts))
		}
		for _, text := range texts {
			if text.Ratio < 4.5 || text.Opacity != "1" {
				t.Errorf("%s, %s: %q has the contrast %.2f: %s on %s, opacity %s", state, theme, text.Text, text.Ratio, text.Color, text.Ground, text.Opacity)
			}
		}
	}
	for _, width := range []int64{320, 360, 768, 1280} {
		b.do(t, chromedp.EmulateViewport(width, 800))
		if got := eval[int64](t, b, "document.documentElement.scrollWidth"); got > width {
			t.Errorf("%s: the page is %d px wide on a screen of %d", state, got, width)
		}
	}
}

// contrasts lists every text that is shown, with the ratio of its colour's luminance to that of what is behind it, as
// WCAG 2 has it.
const contrasts = `(() => {
	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (color) => {
		const [r, g, b] = channels(color).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const found = [];
	for (const element of document.body.querySelectorAll("*")) {
		const own = [...element.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
		const field = element.tagName === "INPUT";
		if ((!own.length && !field) || element.closest("svg, noscript") || !element.getClientRects().length) continue;
		let ground = "", opacity = 1;
		for (let at = element; at; at = at.parentElement) {
			const style = getComputedStyle(at);
			opacity *= style.opacity;
			if (!ground && (channels(style.backgroundColor)[3] ?? 1) === 1) ground = style.backgroundColor;
		}
		const color = getComputedStyle(element).color;
		const [a, b] = [luminance(color), luminance(ground)].sort((x, y) => y - x);
		found.push({ Text: field ? "the field" : own[0].textContent.trim(), Color: color, Ground: ground, Opacity: String(opacity), Ratio: (a + 0.05) / (b + 0.05) });
	}
	return found;
})()`

// kafkaGoesAway returns what makes the world's brokers hang up on everybody, and take calls again.
func kafkaGoesAway(w *world.World) *atomic.Bool {
	var away atomic.Bool
	w.Kafka.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		w.Kafka.KeepControl()
		return nil, errors.New("away"), away.Load()
	})
	return &away
}

func TestThePageFollowsAnOutage(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 40, Partitions: 2})
	away := kafkaGoesAway(w)
	worker, base, _ := loopAt(t, w, env{"SYNC_SLEEP_PERIOD_SECONDS": "1"})
	worker.until(t, good, 2)
	b := browse(t, base)
	b.untilHeadline(t, "In step since")
	b.readable(t, "in step")

	away.Store(true)
	worker.until(t, "gave up", 1)
	w.API.Churn(5)
	b.untilHeadline(t, "Not in step since")
	b.until(t, `document.querySelector("#state").innerText.includes("Kafka is away")`)
	b.until(t, `document.querySelector("#dependencies li.bad b").textContent === "Kafka"`)
	if title := eval[string](t, b, "document.title"); !strings.HasPrefix(title, "Not in step") {
		t.Errorf("the tab says %q", title)
	}
	if said := eval[string](t, b, `document.querySelector("[aria-live=polite][role=status]").textContent`); !strings.HasPrefix(said, "Not in step since ") ||
		!strings.HasSuffix(said, ". Kafka is away, or does not take records.") {
		t.Errorf("those who do not see the page are told %q", said)
	}
	b.readable(t, "not in step")
	b.picture(t, "a real outage", 360, 1280)
	before := eval[string](t, b, `document.querySelector("#figures time[data-age]").textContent`)
	b.until(t, fmt.Sprintf(`document.querySelector("#figures time[data-age]").textContent !== %q`, before))

	away.Store(false)
	b.untilHeadline(t, "In step since")
	b.until(t, `document.querySelectorAll("#dependencies li.bad").length === 0 && document.querySelectorAll("#bars .bar.pending path").length > 0`)

	b.mu.Lock()
	console, asked := slices.Clone(b.console), slices.Clone(b.asked)
	b.mu.Unlock()
	if len(console) > 0 {
		t.Errorf("the console says %q", console)
	}
	polls := 0
	for _, address := range asked {
		if !strings.HasPrefix(address, base+"/") {
			t.Errorf("%s was asked for", address)
		}
		if address == base+"/" {
			polls++
		}
	}
	if polls < 3 {
		t.Errorf("got the requests %q, want some for news", asked)
	}

	worker.halt(t)
	b.untilHeadline(t, "No answer since")
	b.readable(t, "without an answer")
}

func TestThePageIsUsedWithTheKeyboard(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 10, Partitions: 1})
	var id int64
	for id = range truth(w) {
		break
	}
	worker, base, _ := loopAt(t, w, env{"SYNC_SLEEP_PERIOD_SECONDS": "1"})
	worker.until(t, good, 4)
	b := browse(t, base)
	focused := func(claim, id string) {
		t.Helper()
		for range 10 {
			b.press(t, kb.Tab)
			if outline := eval[string](t, b, `getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
				t.Errorf("%s: nobody sees where %s is", claim, eval[string](t, b, "document.activeElement.outerHTML"))
			}
			if eval[string](t, b, "document.activeElement.id") == id {
				return
			}
		}
		t.Fatalf("%s cannot be reached", claim)
	}
	focused("the strip", "strip")
	newest := eval[string](t, b, `document.getElementById("strip").getAttribute("aria-valuetext")`)
	b.press(t, kb.ArrowLeft, kb.ArrowLeft)
	read := eval[string](t, b, `document.getElementById("strip").getAttribute("aria-valuetext")`)
	if shown := eval[string](t, b, `document.getElementById("readout").textContent`); read == newest || shown != read || !strings.Contains(read, "in step · 10") {
		t.Errorf("two passes back: got %q and %q, the newest is %q", read, shown, newest)
	}
	worker.until(t, good, 8)
	b.until(t, `document.querySelectorAll("#bars .bar").length >= 7`)
	if now := eval[string](t, b, `document.getElementById("strip").getAttribute("aria-valuetext")`); now != read || eval[string](t, b, "document.activeElement.id") != "strip" {
		t.Errorf("news took away what was read: got %q, want %q", now, read)
	}
	b.press(t, kb.Home, kb.ArrowLeft)
	if at := eval[string](t, b, `document.getElementById("strip").getAttribute("aria-valuenow")`); at != "1" {
		t.Errorf("the first pass: got %s", at)
	}

	focused("the field", "shift")
	b.do(t, chromedp.KeyEvent(fmt.Sprint(id)))
	b.press(t, kb.Enter)
	b.until(t, fmt.Sprintf(`document.getElementById("answer").innerText.includes("Shift %d: in the topic")`, id))
	for _, part := range []string{"partition 0, offset", "Acknowledged", "Fingerprint"} {
		if answer := eval[string](t, b, `document.getElementById("answer").innerText`); !strings.Contains(answer, part) {
			t.Errorf("%q is not in the answer\n%s", part, answer)
		}
	}
	b.readable(t, "with an answer")
	worker.until(t, good, 12) // news leave the answer alone
	if eval[string](t, b, "document.activeElement.id") != "shift" || !eval[bool](t, b, `document.getElementById("answer").innerText.includes("offset")`) {
		t.Error("news took away the answer, or the focus")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) > 0 {
		t.Errorf("the console says %q", b.console)
	}
}

// Without a script the page is whole, and a form asks.
func TestThePageNeedsNoScript(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 10, Partitions: 1})
	worker, base, _ := loopAt(t, w, env{"SYNC_SLEEP_PERIOD_SECONDS": "3600"})
	worker.until(t, good, 1)
	b := browse(t, base)
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.do(t, chromedp.Navigate(base), chromedp.SendKeys(chromedp.CSS("#shift"), "12345"+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".no")))
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"In step since", " UTC", "10 fetched", "hift 12345 is not known", "Without JavaScript"} {
		if !strings.Contains(strings.ReplaceAll(text, "\u00a0", " "), part) {
			t.Errorf("%q is not on the page:\n%s", part, text)
		}
	}
}
