package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// config declares every setting once: its flag (name), its variables, the old program's name before the better one
// (vars), default, bounds and help. The help page is made of it. Own tags beside kong's:
//
//	vars    variables, the first that is set wins
//	file    the value can also come from a file, whose path stands in <variable>_FILE
//	type    how the text is read, if its Go type does not say so
//	min,max bounds
//	one_of  the only values, or elements, there are
//	no_user where a user and password belong that cannot be part of the URL
//	port    the usual one, of a list of host:port
//	needed  what to give, for a setting that has no default and must be set
//
// A secret has no flag for its value, which everybody on the machine could read in the list of processes, but one for
// the path of its file. A URL with a user or password in it is refused as a flag.
type config struct {
	Once         bool      `name:"once" help:"Run one pass and exit: 0 if all is in step, 3 if something stays pending, 1 if nothing could be decided."`
	DryRun       bool      `name:"dry-run" help:"With --once: say what would be published and why, and write nowhere."`
	Republish    selection `name:"republish" placeholder:"WHAT" help:"Forget shifts, so that whoever holds the lease publishes them on its next pass: all, a comma list of ids, or those that end in a span of days like 2026-11-01..2026-11-15."`
	Yes          bool      `name:"yes" help:"With --republish: do not ask."`
	AcceptLayout bool      `name:"accept-layout" help:"Accept that the topic's partitions, the partitioning, the key's schema or the account changed, and publish the window anew."`

	// PrintVersion is the command version for those who try the flag first.
	PrintVersion bool `name:"version" help:"Print module version, commit and Go version."`

	Sync struct {
		DaysAhead int           `name:"sync-days-ahead" vars:"SYNC_DAYS_AHEAD" default:"1" min:"0" max:"3650" help:"Days after now to cover."`
		DaysPrior int           `name:"sync-days-prior" vars:"SYNC_DAYS_PRIOR" default:"0" min:"-3650" max:"3650" help:"Days before now to cover. A negative number means its absolute value."`
		Wait      time.Duration `name:"sync-sleep-period-seconds" vars:"SYNC_SLEEP_PERIOD_SECONDS" default:"10" min:"0" max:"86400" help:"Seconds to wait after a pass before the next one begins."`
		Name      string        `name:"sync-name" vars:"SYNC_NAME" type:"name" placeholder:"NAME" help:"Tells apart several accounts or environments that feed the same topic."`
		Deletes   string        `name:"sync-deletes" vars:"SYNC_DELETES" default:"update" one_of:"off,update,tombstone" help:"What is done about shifts that vanished from the window: off, nothing; update, those that moved or are not listed any more are published if they changed; tombstone, and those that were deleted get a tombstone."`
	} `embed:"" group:"Window and pace"`

	WIW struct {
		Token     secret        `name:"wiw-token-file" vars:"WIW_KEY,WIW_TOKEN" file:"" placeholder:"PATH" help:"Session token, sent as W-Token. Required, unless there is a login."`
		Developer secret        `name:"wiw-developer-key-file" vars:"WIW_DEVELOPER_KEY" file:"" placeholder:"PATH" help:"Developer key, for a login that gets a session token and replaces it before it ends."`
		Email     string        `name:"wiw-email" vars:"WIW_EMAIL" type:"email" placeholder:"ADDRESS" help:"E-mail address, for a login."`
		Password  secret        `name:"wiw-password-file" vars:"WIW_PASSWORD" file:"" placeholder:"PATH" help:"Password, for a login."`
		LoginURL  endpoint      `name:"wiw-login-url" vars:"WIW_LOGIN_URL" schemes:"https,http" default:"https://api.login.wheniwork.com/login" help:"Where to log in. A path that ends in /2/login is the API's older login."`
		URL       endpoint      `name:"wiw-url" vars:"WIW_URL" schemes:"https,http" default:"https://api.wheniwork.com" help:"Where the API is."`
		UserID    int64         `name:"wiw-user-id" vars:"WIW_USER_ID" placeholder:"ID" min:"1" help:"User id, sent as W-UserId, for a login with several workplaces."`
		Include   words         `name:"wiw-include" vars:"WIW_INCLUDE" placeholder:"WORD,..." one_of:"open,allopen,unpublished,all_locations" help:"Shifts to ask for beyond the usual ones: a comma list of open, allopen, unpublished, all_locations."`
		SliceDays int           `name:"wiw-slice-days" vars:"WIW_SLICE_DAYS" default:"30" min:"1" max:"90" help:"Longest window of one request, in days; a longer one is split."`
		Rate      int           `name:"wiw-rate" vars:"WIW_RATE" default:"60" min:"1" max:"6000" help:"Most requests a minute."`
		MaxBytes  byteSize      `name:"wiw-max-bytes" vars:"WIW_MAX_BYTES" default:"2GiB" min:"64KiB" max:"1TiB" help:"Largest answer to read, decompressed."`
		Timeout   time.Duration `name:"wiw-timeout" vars:"WIW_TIMEOUT" default:"30s" min:"1s" max:"10m" help:"Longest wait for a byte of an answer."`
	} `embed:"" group:"When I Work"`

	Kafka struct {
		Brokers         hostPorts `name:"kafka-brokers" vars:"KAFKA_BROKERS" port:"9092" needed:"a comma list of host:port" placeholder:"HOST:PORT,..." help:"Brokers to ask for the others."`
		Topic           string    `name:"kafka-topic" vars:"KAFKA_TOPIC_NAME,KAFKA_TOPIC" type:"topic" placeholder:"TOPIC" needed:"the name of the topic to write to" help:"Topic to write to; its subjects are <topic>-key and <topic>-value."`
		SchemaName      string    `name:"kafka-schema-name" vars:"KAFKA_SCHEMA_NAME" type:"namespace" placeholder:"NAMESPACE" help:"Avro namespace of schemas that are registered for the first time."`
		Partition       *int32    `name:"kafka-partition" vars:"KAFKA_PARTITION" placeholder:"N" min:"0" help:"Send all records to this partition. Unset: murmur2 of the key, as Java producers do."`
		Compression     string    `name:"kafka-compression" vars:"KAFKA_COMPRESSION" default:"none" one_of:"none,gzip,snappy,lz4,zstd" help:"none, gzip, snappy, lz4 or zstd."`
		DeadLetters     string    `name:"dlq-topic" vars:"DLQ_TOPIC" type:"topic_or_off" placeholder:"TOPIC" help:"Topic for dead letters: each bad version of a shift. Unset, or off: they are only logged."`
		TransactionalID string    `name:"kafka-transactional-id" vars:"KAFKA_TRANSACTIONAL_ID" type:"printable" placeholder:"ID" help:"Fences older workers. Unset: slotsync-<topic>, or slotsync-<topic>/<sync name>; off: no fence."`

		TLS           bool      `name:"kafka-tls" vars:"KAFKA_TLS" help:"Speak TLS with the brokers."`
		TLSCA         pemSource `name:"kafka-tls-ca" vars:"KAFKA_TLS_CA" placeholder:"PATH" help:"Authorities whose certificates are trusted, a path or in PEM. Unset: those of the system."`
		TLSCert       pemSource `name:"kafka-tls-cert" vars:"KAFKA_TLS_CERT" placeholder:"PATH" help:"Our certificate, with those between it and its authority, a path or in PEM."`
		TLSKey        pemSource `name:"kafka-tls-key" vars:"KAFKA_TLS_KEY" file:"" placeholder:"PATH" help:"Its key, a path or in PEM."`
		TLSServerName string    `name:"kafka-tls-server-name" vars:"KAFKA_TLS_SERVER_NAME" type:"host" placeholder:"HOST" help:"Name that the brokers' certificates have to be for. Unset: the host that is connected to."`

		Mechanism string `name:"kafka-sasl-mechanism" vars:"KAFKA_SASL_MECHANISM" type:"mechanism" placeholder:"MECHANISM" one_of:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER,AWS_MSK_IAM" help:"How to log in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM. Unset: not at all."`
		Username  string `name:"kafka-username" vars:"KAFKA_USERNAME" type:"printable" placeholder:"USER" help:"User for PLAIN and SCRAM."`
		Password  secret `name:"kafka-password-file" vars:"KAFKA_PASSWORD" file:"" placeholder:"PATH" help:"Its password."`

		TokenURL   endpoint  `name:"kafka-sasl-oauthbearer-token-endpoint-url" vars:"KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL" placeholder:"URL" schemes:"https,http" help:"Where OAUTHBEARER gets its tokens, with the grant client_credentials."`
		ClientID   string    `name:"kafka-sasl-oauthbearer-client-id" vars:"KAFKA_SASL_OAUTHBEARER_CLIENT_ID" type:"printable" placeholder:"ID" help:"Client id there."`
		Secret     secret    `name:"kafka-sasl-oauthbearer-client-secret-file" vars:"KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET" file:"" placeholder:"PATH" help:"Its secret."`
		Scope      string    `name:"kafka-sasl-oauthbearer-scope" vars:"KAFKA_SASL_OAUTHBEARER_SCOPE" type:"printable" placeholder:"SCOPE" help:"Scope to ask for; several with spaces between."`
		Audience   string    `name:"kafka-sasl-oauthbearer-audience" vars:"KAFKA_SASL_OAUTHBEARER_AUDIENCE" type:"printable" placeholder:"AUDIENCE" help:"Audience to ask for, where the token endpoint wants to be told."`
		Extensions pairs     `name:"kafka-sasl-oauthbearer-extensions" vars:"KAFKA_SASL_OAUTHBEARER_EXTENSIONS" placeholder:"NAME=VALUE,..." help:"What to tell the broker beside the token, like logicalCluster=lkc-…,identityPoolId=pool-…"`
		TokenCA    pemSource `name:"kafka-sasl-oauthbearer-tls-ca" vars:"KAFKA_SASL_OAUTHBEARER_TLS_CA" placeholder:"PATH" help:"Authorities that are trusted where the tokens come from, a path or in PEM. Unset: those of the system."`
		AWSRegion  string    `name:"kafka-aws-region" vars:"KAFKA_AWS_REGION" type:"host" placeholder:"REGION" help:"Region of an MSK cluster, for AWS_MSK_IAM. Unset: the one in the names of the brokers, or else AWS_REGION or that of the profile."`
	} `embed:"" group:"Kafka"`

	Registry struct {
		URL      endpoint  `name:"schema-registry-url" vars:"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL,SCHEMA_REGISTRY_URL" file:"" placeholder:"URL" schemes:"http,https" needed:"the URL of the schema registry" help:"Where the schema registry is."`
		Username string    `name:"schema-registry-username" vars:"SCHEMA_REGISTRY_USERNAME" type:"printable" placeholder:"USER" help:"User for basic authentication."`
		Password secret    `name:"schema-registry-password-file" vars:"SCHEMA_REGISTRY_PASSWORD" file:"" placeholder:"PATH" help:"Its password."`
		Token    secret    `name:"schema-registry-token-file" vars:"SCHEMA_REGISTRY_TOKEN" file:"" placeholder:"PATH" help:"Bearer token, instead of user and password."`
		CA       pemSource `name:"schema-registry-tls-ca" vars:"SCHEMA_REGISTRY_TLS_CA" placeholder:"PATH" help:"Certificates, in PEM, of the authorities that may sign the registry's; a path, or in the variable the text. Unset: the system's."`
		Cert     pemSource `name:"schema-registry-tls-cert" vars:"SCHEMA_REGISTRY_TLS_CERT" placeholder:"PATH" help:"Certificate to show to the registry, likewise."`
		Key      pemSource `name:"schema-registry-tls-key" vars:"SCHEMA_REGISTRY_TLS_KEY" file:"" placeholder:"PATH" help:"Its key, likewise."`
		Register bool      `name:"register-schemas" vars:"REGISTER_SCHEMAS" default:"true" negatable:"" help:"Register the schemas at start if they are compatible."`
	} `embed:"" group:"Schema registry"`

	Redis struct {
		URL              endpoint      `name:"redis-url" vars:"REDIS_HOST,REDIS_URL" file:"" schemes:"redis,rediss,unix" default:"redis://localhost:6379" help:"redis://, rediss:// or unix://. With ?skip_verify=true behind rediss://, any certificate is trusted. With Sentinel or Cluster, only user, password and database of it are used."`
		Master           string        `name:"redis-sentinel-master" vars:"REDIS_SENTINEL_MASTER" type:"printable" placeholder:"NAME" help:"Name of the master that Sentinel watches."`
		Sentinels        hostPorts     `name:"redis-sentinel-addrs" vars:"REDIS_SENTINEL_ADDRS" port:"26379" placeholder:"HOST:PORT,..." help:"Some of its Sentinels; the others are asked for."`
		SentinelPassword secret        `name:"redis-sentinel-password-file" vars:"REDIS_SENTINEL_PASSWORD" file:"" placeholder:"PATH" help:"Password of the Sentinels."`
		Cluster          hostPorts     `name:"redis-cluster-addrs" vars:"REDIS_CLUSTER_ADDRS" port:"6379" placeholder:"HOST:PORT,..." help:"Some nodes of a Redis Cluster; the others are asked for."`
		CA               pemSource     `name:"redis-tls-ca" vars:"REDIS_TLS_CA" placeholder:"PATH" help:"For rediss://: certificates, in PEM, of the authorities that may sign the servers'; a path, or in the variable the text. Unset: the system's."`
		Cert             pemSource     `name:"redis-tls-cert" vars:"REDIS_TLS_CERT" placeholder:"PATH" help:"For rediss://: certificate to show to the servers, likewise."`
		Key              pemSource     `name:"redis-tls-key" vars:"REDIS_TLS_KEY" file:"" placeholder:"PATH" help:"Its key, likewise."`
		Expire           time.Duration `name:"expire-cache" vars:"EXPIRE_CACHE" default:"604800" min:"1" max:"315360000" help:"Seconds to remember a shift after it was last seen; never less than the window."`
	} `embed:"" group:"Redis"`

	Limits struct {
		Pending     int           `name:"pending-limit" vars:"PENDING_LIMIT" default:"100000" min:"1" max:"100000000" help:"Most shifts to collect while Kafka is away."`
		Republish   int           `name:"republish-rate" vars:"REPUBLISH_RATE" default:"1000" min:"1" max:"1000000" help:"Shifts a second to publish when only the schema changed."`
		BadShare    float64       `name:"bad-share" vars:"BAD_SHARE" default:"0.1" min:"0" max:"1" help:"Share of bad records above which a pass fails."`
		GoneShare   float64       `name:"gone-share" vars:"GONE_SHARE" default:"0.2" min:"0" max:"1" help:"Share of missing shifts, of those that should be in the window, above which none is taken for deleted, and the share that may get a tombstone within an hour. A single one always may, unless the answer is empty; 1: no guard."`
		StopTimeout time.Duration `name:"stop-timeout" vars:"STOP_TIMEOUT" default:"30s" min:"6s" max:"1h" help:"Longest time that a stop may take, at least 6s."`
	} `embed:"" group:"Limits"`

	Metrics struct {
		Host      string   `name:"statsd-host" vars:"STATSD_HOST" type:"host" placeholder:"HOST" help:"Where StatsD listens. Unset: metrics are off."`
		Port      int      `name:"statsd-port" vars:"STATSD_PORT" default:"8125" min:"1" max:"65535" help:"Its UDP port."`
		URL       endpoint `name:"dd-dogstatsd-url" vars:"DD_DOGSTATSD_URL" placeholder:"URL" schemes:"udp,unix,unixgram,unixstream" help:"The same as a URL, udp:// or unix:// with a socket of either kind; used if there is no StatsD host."`
		AgentHost string   `name:"dd-agent-host" vars:"DD_AGENT_HOST" type:"host" placeholder:"HOST" help:"Host of the Datadog agent; used if neither of the others is set."`
		Env       string   `name:"dd-env" vars:"DD_ENV" type:"tag" placeholder:"VALUE" help:"Tag env of all metrics."`
		Service   string   `name:"dd-service" vars:"DD_SERVICE" type:"tag" placeholder:"VALUE" help:"Tag service of all metrics."`
		Version   string   `name:"dd-version" vars:"DD_VERSION" type:"tag" placeholder:"VALUE" help:"Tag version of all metrics."`
		Namespace string   `name:"metrics-namespace" vars:"METRICS_NAMESPACE" type:"prefix" default:"slot_sync" help:"First part of the names of all metrics."`
	} `embed:"" group:"Metrics"`

	Traces struct {
		Exporter string   `name:"otel-traces-exporter" vars:"OTEL_TRACES_EXPORTER" default:"otlp" one_of:"otlp,none" help:"otlp, or none to make no traces."`
		Endpoint endpoint `name:"otel-exporter-otlp-endpoint" vars:"OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL" schemes:"http,https" no_user:"OTEL_EXPORTER_OTLP_HEADERS takes the header, like Authorization=Basic%20dXNlcjpwYXNz" help:"Collector of traces, over OTLP with HTTP; /v1/traces is added. Unset: there are no traces."`
		Whole    endpoint `name:"otel-exporter-otlp-traces-endpoint" vars:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" placeholder:"URL" schemes:"http,https" no_user:"OTEL_EXPORTER_OTLP_HEADERS takes the header, like Authorization=Basic%20dXNlcjpwYXNz" help:"The same as a whole URL, to which nothing is added; it wins."`
		Service  string   `name:"otel-service-name" vars:"OTEL_SERVICE_NAME" type:"printable" placeholder:"NAME" help:"Name of the service in traces. Unset: that of DD_SERVICE, or slotsync."`
	} `embed:"" group:"Traces"`

	HTTP struct {
		Addr string `name:"http-addr" vars:"HTTP_ADDR" type:"listen" placeholder:"HOST:PORT" help:"Where to serve health, /metrics and a page that shows them, like 127.0.0.1:8080. There is no login: give an address on loopback or in a network of yours. Port 0 is any that is free; the log names it. Unset, or off: nowhere."`
	} `embed:"" group:"Health"`

	Log struct {
		Level  string `name:"log-level" vars:"LOG_LEVEL" default:"info" one_of:"debug,info,warn,error" help:"debug, info, warn or error."`
		Format string `name:"log-format" vars:"LOG_FORMAT" placeholder:"FORMAT" one_of:"text,json" help:"text or json. Unset: text on a terminal, json elsewhere."`
	} `embed:"" group:"Logs"`

	Foreground struct{}     `cmd:"" default:"1" help:"Keep the topic in step until stopped (what slotsync does when no command is given)."`
	Check      checkOptions `cmd:"" help:"Ask every dependency whether the worker would work, and say what to do: 0 if so, 1 if not. Writes nothing, unless asked to create the topic; but asked about the fence, a broker may make its topic __transaction_state."`
	Tail       tailOptions  `cmd:"" help:"Print the topic's records as lines of JSON."`
	Schemas    struct {
		Show     struct{} `cmd:"" help:"Print the schemas and what the registry has."`
		Check    struct{} `cmd:"" help:"Tell whether they are registered or could be, and which ones would be used: 0 yes, 1 no. Registers nothing."`
		Register struct{} `cmd:"" help:"Register them if both are compatible."`
	} `cmd:"" help:"Look at the Avro schemas, or register them."`
	Health  probeOptions `cmd:"" help:"Ask the running worker on HTTP_ADDR whether it is alive: 0 yes, 1 no."`
	Version struct{}     `cmd:"" help:"Print module version, commit and Go version."`

	command      string   // its words, like "foreground", or "" when the help page was all that was wanted
	tokenFrom    string   // the setting that the session token is from, for people
	registryFrom string   // the setting that the URL of the registry is from, for people
	badSelection bool     // --republish was given, with a value that is wrong
	warnings     []string // for the log, once there is one
}

// republishes tells whether shifts are to be published again, be it that it cannot be read which.
func (c *config) republishes() bool { return c.Republish.any() || c.badSelection }

// spared are the flags of required settings that a command does without.
func (c *config) spared() []string {
	if c.command == "foreground" && c.republishes() {
		return []string{"wiw-token-file", "schema-registry-url"}
	}
	switch c.command {
	case "tail":
		return []string{"wiw-token-file"}
	case "schemas show", "schemas check", "schemas register":
		return []string{"wiw-token-file", "kafka-brokers"}
	case "health":
		return []string{"wiw-token-file", "kafka-brokers", "kafka-topic", "schema-registry-url"}
	default:
		return nil
	}
}

// ignored are the old program's variables for which there is nothing to do.
func ignored() []string {
	return []string{"LENSES_HOST", "LENSES_USER", "LENSES_PASS", "LENSES_TOPIC", "KAFKA_SCHEMA_BASE_PATH"}
}

// validate checks what no setting can know alone, and mends what the old program needed bent.
func (c *config) validate(l *loader) {
	if c.Sync.DaysPrior < 0 {
		c.Sync.DaysPrior = -c.Sync.DaysPrior
		l.warn("SYNC_DAYS_PRIOR is negative, as the old program needed it; days before now that are covered: %d", c.Sync.DaysPrior)
	}
	if c.Sync.DaysPrior == 0 && c.Sync.DaysAhead == 0 {
		l.fault(&c.Sync.DaysAhead, "is 0, and so is SYNC_DAYS_PRIOR, which leaves no time to cover: give one of them a day or more")
	}
	c.validateRegistry(l)
	c.validateKafka(l)
	c.validateRedis(l)
	if c.Kafka.DeadLetters != "" && c.Kafka.DeadLetters == c.Kafka.Topic && c.command != "tail" {
		l.fault(&c.Kafka.DeadLetters, "is the topic of the shifts: give dead letters one of their own")
	}
	if c.Tail.Dead && c.Kafka.DeadLetters == "" {
		l.fault(&c.Kafka.DeadLetters, "is not set: --dead-letters shows what is in it")
	}
	validateProxies(l)
	if c.Kafka.TransactionalID == "off" {
		l.warn("KAFKA_TRANSACTIONAL_ID is off: the broker refuses nothing from a worker that lost its lease and does not know it yet, " +
			"so an older version of a shift can land behind a newer one; unset it and allow the right to write to the transactional id")
	}
	c.validateLogin(l)
	if c.WIW.URL.inTheClear() {
		l.warn("WIW_URL is http: the session token and all shifts can be read on the way")
	}
	if k := &c.Check; !k.CreateTopic && (k.Partitions != 0 || k.ReplicationFactor != 0) {
		l.faultOf("--partitions and --replication-factor", "go with --create-topic: an existing topic is never changed")
	}
	var unused []string
	for _, name := range ignored() {
		if l.getenv(name) != "" {
			unused = append(unused, name)
		}
	}
	if len(unused) > 0 {
		l.warn("%s: ignored; topics are made elsewhere, and the schemas are built in", strings.Join(unused, ", "))
	}

}

// validateLogin checks that there is one way to come by a session token.
func (c *config) validateLogin(l *loader) {
	parts := []struct {
		name  string
		field any
		given bool
	}{
		{"WIW_DEVELOPER_KEY", &c.WIW.Developer, !c.WIW.Developer.Empty()},
		{"WIW_EMAIL", &c.WIW.Email, c.WIW.Email != ""},
		{"WIW_PASSWORD", &c.WIW.Password, !c.WIW.Password.Empty()},
	}
	given := 0
	for _, part := range parts {
		if part.given {
			given++
		}
	}
	switch {
	case given == 0 && c.WIW.Token.Empty() && !slices.Contains(c.spared(), "wiw-token-file"):
		l.fault(&c.WIW.Token, "is not set: give a session token of When I Work (not the developer key), or let slotsync log in with WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD")
	case given == 0:
	case given < len(parts):
		for _, part := range parts {
			if !part.given {
				l.fault(part.field, "is not set: a login needs WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD together")
			}
		}
	default:
		if !c.WIW.Token.Empty() {
			l.warn("WIW_KEY is set beside a login and is not used: unset it")
		}
		if c.WIW.LoginURL.inTheClear() {
			l.warn("WIW_LOGIN_URL is http: the developer key and the password can be read on the way")
		}
	}
}

// logsIn tells whether the session token comes from a login.
func (c *config) logsIn() bool {
	return !c.WIW.Developer.Empty() && c.WIW.Email != "" && !c.WIW.Password.Empty()
}

// tokenName returns where the session token comes from, for people.
func (c *config) tokenName() string {
	if c.logsIn() {
		return "the login"
	}
	return c.tokenFrom
}

// inTheClear tells whether what is sent to the endpoint can be read by others.
func (e endpoint) inTheClear() bool { return strings.HasPrefix(e.shown, "http://") && !e.loopback() }

// loopback tells whether the endpoint is on this machine.
func (e endpoint) loopback() bool {
	u, err := url.Parse(e.shown)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// transactionalID returns the id that fences older workers, or "" if there is to be no fence.
func (c *config) transactionalID() string {
	switch {
	case c.Kafka.TransactionalID == "off":
		return ""
	case c.Kafka.TransactionalID != "":
		return c.Kafka.TransactionalID
	case c.Sync.Name != "":
		return "slotsync-" + c.Kafka.Topic + "/" + c.Sync.Name // no topic has a slash: two pairs never share an id
	default:
		return "slotsync-" + c.Kafka.Topic
	}
}

// statsdAddr returns where metrics go, in the form that the StatsD client takes, or "" if they are off.
func (c *config) statsdAddr() string {
	m := &c.Metrics
	port := strconv.Itoa(m.Port)
	switch rest, udp := strings.CutPrefix(m.URL.Reveal(), "udp://"); {
	case m.Host != "":
		return net.JoinHostPort(m.Host, port)
	case udp && !hasPort(rest):
		return net.JoinHostPort(strings.Trim(rest, "[]"), port)
	case udp:
		return rest
	case m.URL.Reveal() != "":
		return m.URL.Reveal()
	case m.AgentHost != "":
		return net.JoinHostPort(m.AgentHost, port)
	default:
		return ""
	}
}

// servesHTTP tells whether there is a page to look at; a single pass has none.
func (c *config) servesHTTP() bool { return c.HTTP.Addr != "" && !c.Once }

func hasPort(hostport string) bool {
	_, _, err := net.SplitHostPort(hostport)
	return err == nil
}

// byteSize is a number of bytes.
type byteSize int64

func (b byteSize) String() string { return fmt.Sprintf("%d bytes", int64(b)) }

// hostPorts are addresses as a dialer takes them.
type hostPorts []string

// words are the elements of a comma list.
type words []string
