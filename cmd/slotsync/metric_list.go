package main

import (
	"strings"

	"github.com/slotsync/slotsync/wiw"
)

// Names of metrics. Those of slot_sync stand first; its dashboards hang on them.
const (
	metricGet          = "wiw.get"
	metricMatched      = "processor.shift.matched"
	metricUnmatched    = "processor.shift.unmatched"
	metricEncoded      = "publisher.encoding.success"
	metricUnencodable  = "publisher.encoding.error"
	metricPassDuration = "pass.duration"
	metricPassAge      = "pass.age"
	metricTrouble      = "pass.trouble"
	metricFailures     = "pass.failures"
	metricFetched      = "shifts.fetched"
	metricPublished    = "shifts.published"
	metricLag          = "shifts.lag"
	metricSchemaOnly   = "shifts.schema_only"
	metricDeferred     = "shifts.deferred"
	metricSetAside     = "shifts.set_aside"
	metricAside        = "shifts.aside"
	metricPending      = "shifts.pending"
	metricPendingLimit = "shifts.pending_limit"
	metricNotCollected = "shifts.not_collected"
	metricBuried       = "dead_letters.published"
	metricUnburied     = "dead_letters.pending"
	metricHeldBack     = "shifts.held_back"
	metricMissing      = "shifts.missing"
	metricLookedUp     = "shifts.looked_up"
	metricGone         = "shifts.gone"
	metricSwept        = "shifts.swept"
	metricRequests     = "wiw.requests"
	metricRequest      = "wiw.request.duration"
	metricLimit        = "wiw.limit.remaining"
	metricToken        = "wiw.token.remaining"
	metricLoginTries   = "wiw.login.attempts"
	metricLogins       = "wiw.logins"
	metricUnknownDates = "wiw.dates.unknown"
	metricStep         = "step.duration"
	metricStepErrors   = "step.errors"
	metricPool         = "redis.pool.connections"
	metricPoolTimeouts = "redis.pool.timeouts"
	metricPoolMisses   = "redis.pool.misses"
	metricRecords      = "producer.records"
	metricBatches      = "producer.batches"
	metricRetries      = "producer.retries"
	metricUnknown      = "producer.unknown"
	metricEpochs       = "producer.epochs"
	metricBytes        = "producer.bytes"
	metricActive       = "worker.active"
	metricTaken        = "worker.leases.taken"
	metricLost         = "worker.leases.lost"
)

// Types of metrics, by Datadog's names.
const (
	kindCount  = "count"        // how many since the last point
	kindGauge  = "gauge"        // how much at the moment
	kindSpread = "distribution" // single values, of which percentiles are wanted
)

// metric describes a metric for those who draw it.
type metric struct {
	Name    string // without the namespace
	Type    string // count, gauge or distribution
	Unit    string
	Tags    []tag
	Meaning string
}

// tag is a tag of a metric, with all the values that it ever has: each of them is a series that somebody pays for.
type tag struct {
	Name   string
	Values []string
}

// String lists a tag's values for people.
func (t tag) String() string {
	last := len(t.Values) - 1
	return t.Name + ": " + strings.Join(t.Values[:last], ", ") + " or " + t.Values[last]
}

// metricList returns all metrics: what is sent, the README's table, Datadog's metadata.csv and the names at /metrics are
// made of it.
func metricList() []metric {
	result := []tag{{"result", []string{resultOK, resultPending, resultFailed}}}
	class := []tag{{"status_class", []string{"2xx", "3xx", "4xx", "5xx", wiw.ClassNoShift, "error"}}}
	step := []tag{{"step", steps()}}
	var reasons []string
	for _, c := range causes() {
		reasons = append(reasons, string(c))
	}
	return []metric{
		{metricGet, kindCount, "passes", nil, "passes that are about to ask the API"},
		{metricMatched, kindCount, "shifts", nil, "shifts that had not changed"},
		{metricUnmatched, kindCount, "shifts", nil, "shifts that are new or had changed"},
		{metricEncoded, kindCount, "shifts", nil, "shifts that were made records"},
		{metricUnencodable, kindCount, "shifts", nil, "shifts that could not be made records"},
		{metricPassDuration, kindSpread, "seconds", result, "how long a pass took"},
		{metricPassAge, kindGauge, "seconds", nil, "time since a pass of any worker last left the topic in step or, if none did, since the first lease; sent every 10 s, even if a pass hangs"},
		{metricTrouble, kindCount, "passes", []tag{{"reason", reasons}}, "passes that failed or left something pending, or could not begin, by what was in the way"},
		{metricFailures, kindGauge, "passes", nil, "passes in a row that failed, or could not begin; a standby sends none"},
		{metricFetched, kindCount, "shifts", nil, "shifts that the API told of"},
		{metricPublished, kindCount, "shifts", nil, "shifts that the broker acknowledged"},
		{metricLag, kindSpread, "seconds", nil, "from a shift's last change in When I Work to its acknowledgement, for up to 20 shifts of a batch; only of changes since the last pass that left all in step, or else of the last day"},
		{metricSchemaOnly, kindCount, "shifts", nil, "shifts that differ in nothing but the schema they were written with"},
		{metricDeferred, kindGauge, "shifts", nil, "of these, those that `REPUBLISH_RATE` left to later passes"},
		{metricSetAside, kindCount, "shifts", nil, "bad versions of shifts, each counted once"},
		{metricAside, kindGauge, "shifts", nil, "bad shifts in the window, after a pass that read it"},
		{metricPending, kindGauge, "shifts", nil, "shifts waiting for their acknowledgement, when the lease was taken and after each pass"},
		{metricPendingLimit, kindGauge, "shifts", nil, "how many may wait: `PENDING_LIMIT`"},
		{metricNotCollected, kindGauge, "shifts", nil, "changed shifts that a pass left alone because of that limit"},
		{metricBuried, kindCount, "letters", nil, "bad versions of shifts that `DLQ_TOPIC` acknowledged; a lost answer repeats one"},
		{metricUnburied, kindGauge, "letters", nil, "dead letters that wait for `DLQ_TOPIC` after a pass"},
		{metricHeldBack, kindCount, "shifts", nil, "versions older than a known one, held back until another pass sees them too"},
		{metricMissing, kindGauge, "shifts", nil, "shifts that should be in the window and were not, after a pass that looked; without those known to be unlisted or deleted"},
		{metricLookedUp, kindCount, "shifts", nil, "missing shifts that were asked for one by one"},
		{metricGone, kindCount, "shifts", nil, "shifts that were found to be deleted"},
		{metricSwept, kindCount, "shifts", nil, "shifts that were forgotten because they were not seen for long"},
		{metricRequests, kindCount, "requests", class, "requests to the API, by the class of the answer's status; no_shift: a single one is not there; error: no answer"},
		{metricRequest, kindSpread, "seconds", class, "how long the API took to answer a request"},
		{metricLimit, kindGauge, "requests", nil, "what is left of the API's rate limit, where it tells"},
		{metricToken, kindGauge, "seconds", nil, "until the session token ends, below 0 when it has; none if the token does not say"},
		{metricLoginTries, kindCount, "attempts", nil, "attempts to log in, those that failed included; none with a token that is a setting"},
		{metricLogins, kindCount, "logins", nil, "logins that gave a session token"},
		{metricUnknownDates, kindCount, "dates", nil, "dates in a form that is not known, read as no date"},
		{metricStep, kindSpread, "seconds", step, "how long a step took"},
		{metricStepErrors, kindCount, "errors", step, "steps that went wrong"},
		{metricPool, kindGauge, "connections", []tag{{"state", []string{"used", "idle"}}}, "connections to Redis"},
		{metricPoolTimeouts, kindCount, "timeouts", nil, "waits for a connection to Redis that were in vain"},
		{metricPoolMisses, kindCount, "connections", nil, "times that no connection to Redis was idle, and one was made"},
		{metricRecords, kindCount, "records", []tag{{"fate", []string{"acknowledged", "refused", "unsent", "unknown"}}}, "records that were handed to the producer, by what became of them"},
		{metricBatches, kindCount, "batches", nil, "batches that were sent to a partition, each counted once"},
		{metricRetries, kindCount, "attempts", nil, "further attempts to send one"},
		{metricUnknown, kindCount, "batches", nil, "batches that were given up without a definite answer; a new epoch settles them"},
		{metricEpochs, kindCount, "epochs", nil, "producer epochs taken from the broker"},
		{metricBytes, kindCount, "bytes", nil, "size of the acknowledged batches, compressed if they are"},
		{metricActive, kindGauge, "workers", []tag{{"role", []string{roleHolder, roleWaiting}}}, "1 if this worker holds the lease, else 0"},
		{metricTaken, kindCount, "leases", nil, "times that this worker took the lease"},
		{metricLost, kindCount, "leases", nil, "times that it lost the lease without giving it back"},
	}
}
