package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// dryRun prints what a pass would publish, and why, a line for each shift and the counts at the end. It takes no lease
// and writes nowhere: not to Redis, not to Kafka, not to the registry, and sends no metrics.
func dryRun(ctx context.Context, cfg *config, log *slog.Logger, screen *screen, stdout io.Writer) (err error) {
	watch := newObserver(cfg, log, noMetrics(), screen)
	defer closeInto(&err, watch.stats, "close metrics")
	out, err := connect(cfg, log, watch)
	if err != nil {
		return err
	}
	defer closeInto(&err, out, "close connections")
	cluster, err := out.kafka.ClusterID(ctx)
	if err != nil {
		return fmt.Errorf("find the kafka cluster: %w", err)
	}

	page := bufio.NewWriter(stdout)
	diff := differ{reader: publish.NewReader(out.kafka, out.registry), encoder: out.encoder}
	rep, err := out.worker(cfg, cluster).Preview(ctx, func(p shiftsync.Plan) error {
		_, err := fmt.Fprintln(page, oneLine(diff.line(ctx, p)))
		return printed(err)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	for _, notice := range rep.Notices {
		log.Warn("notice", "text", notice)
	}
	if err != nil && !errors.Is(err, shiftsync.ErrTooManyBad) {
		return errors.Join(fmt.Errorf("dry run: %w", err), page.Flush())
	}
	if rep.Missing > 0 || diff.missing > 0 {
		fmt.Fprintf(page, "%s in the window were not in the answer: a pass asks for up to %d of them, once a minute\n", counted(max(rep.Missing, diff.missing), "shift"), shiftsync.WantedBatch)
	}
	if diff.older > 0 {
		fmt.Fprintf(page, "%s held back for a pass, unless one has held them back before\n", counted(diff.older, "shift"))
	}
	fmt.Fprintf(page, "a pass would publish %s: %s new, %s changed, %s for the schema alone, %s wanted again, %s pending; it would set aside %s; %s are unchanged",
		counted(diff.fresh+diff.changed+diff.schema+diff.wanted+diff.pending, "shift"), grouped(diff.fresh), grouped(diff.changed), grouped(diff.schema),
		grouped(diff.wanted), grouped(diff.pending), grouped(diff.aside), grouped(rep.Unchanged))
	if rep.StillAside > 0 {
		fmt.Fprintf(page, "; %s are bad and set aside already", grouped(rep.StillAside))
	}
	fmt.Fprintln(page)
	if err != nil {
		err = fmt.Errorf("dry run: %w", err)
	}
	if e := printed(page.Flush()); !errors.Is(e, errEnough) {
		err = errors.Join(err, e)
	}
	return err
}

// differ tells in what a shift differs from its last record.
type differ struct {
	reader  *publish.Reader
	encoder *publish.Avro

	fresh, changed, schema, wanted, pending, aside, missing, older int
}

func (d *differ) line(ctx context.Context, p shiftsync.Plan) string {
	switch p.Why {
	case shiftsync.WhyNew:
		d.fresh++
		return fmt.Sprintf("new      %d", p.ID)
	case shiftsync.WhySchema:
		d.schema++
		return fmt.Sprintf("schema   %d: the same content, written with another schema", p.ID)
	case shiftsync.WhyWanted:
		d.wanted++
		return fmt.Sprintf("wanted   %d: asked for again, not in the window; read by itself, %d a pass", p.ID, shiftsync.WantedBatch)
	case shiftsync.WhyMissing:
		d.missing++
		return fmt.Sprintf("missing  %d: it should be in the window; read by itself, it may have moved, be hidden or deleted", p.ID)
	case shiftsync.WhyOlder:
		d.older++
		return fmt.Sprintf("older    %d: by its updated_at, than the version that is known; held back until another pass sees it too", p.ID)
	case shiftsync.WhyPending:
		d.pending++
		return fmt.Sprintf("pending  %d: no acknowledgement of it has come", p.ID)
	case shiftsync.WhyAside:
		d.aside++
		return fmt.Sprintf("aside    %d: %s", p.ID, p.Reason)
	}
	d.changed++
	return fmt.Sprintf("changed  %d: %s", p.ID, d.fields(ctx, p))
}

// fields names what differs between a record that would be published and the last one that was.
func (d *differ) fields(ctx context.Context, p shiftsync.Plan) string {
	if !p.Known.Remembered || p.Known.Pending {
		return "a newer version than the one that is pending"
	}
	if p.Known.Tombstone() {
		return "it was deleted, and is there again"
	}
	was, err := d.reader.At(ctx, p.Known.Partition, p.Known.Offset)
	switch {
	case errors.Is(err, publish.ErrGone):
		return "its last record is not in the topic any more"
	case err != nil:
		return "its last record cannot be read back: " + err.Error()
	}
	now, err := d.encoder.Fields(p.Record.Value)
	if err != nil {
		return "its fields cannot be compared: " + err.Error()
	}
	var names []string
	for name := range now {
		if was, there := was.Value[name]; !there && now[name] != nil || there && !reflect.DeepEqual(was, now[name]) {
			names = append(names, name)
		}
	}
	for name := range was.Value {
		if _, there := now[name]; !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "no field: its last record says the same"
	}
	return strings.Join(names, ", ")
}
