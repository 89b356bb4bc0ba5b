.DEFAULT_GOAL := help

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
IMAGE       ?= slotsync
PACKAGES    ?= ./...
CHAOS_FOR   ?= 2h
CHAOS       ?=
BROKEN      ?=
BENCH       ?=

.PHONY: help demo test check vulns bench bench-rest bench-parts fuzz stack stack-down test-stack chaos chaos-proof build image

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the worker, with an API, Redis, Kafka and a registry inside the process; needs nothing but Go
	go run ./cmd/mini

test: ## all tests; needs nothing but Go
	go test ./...

check: ## what a change must pass: format, vet, lint, and the tests under the race detector (needs a C compiler)
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go test -race -shuffle=on -timeout 20m ./...
	cd deploy && go vet ./... && go run $(STATICCHECK) ./... && go test -count=1 ./...

vulns: ## known vulnerabilities in the code that is called, as vuln.go.dev or VULN_DB tells them
	@.ci/vulns

bench: ## whole passes beside a real Redis, with their ceiling, some 15 minutes; BENCH='--shifts 10000' measures less (Linux; needs redis-server)
	@go run ./cmd/bench $(BENCH)

bench-rest: ## what a day takes of a worker that has nothing to do, in a minute (Linux; needs redis-server)
	@go run ./cmd/bench rest

bench-parts: ## the benchmarks of the packages
	go test -run='^$$' -bench=. ./...

fuzz: ## each fuzz test for FUZZTIME (10s)
	.ci/fuzz $(FUZZTIME)

stack: ## real Redis, Kafka and registry on loopback, until make stack-down (needs Java, Maven and redis-server)
	@deploy/stack/stack up

stack-down: ## ends what make stack started
	@deploy/stack/stack down

test-stack: ## all tests, and those against a stack of their own, which must not be missing (needs what .ci/run installs)
	@SLOTSYNC_TEST_STACK=1 deploy/stack/stack run \
		go test -count=1 -timeout 20m $(PACKAGES)

chaos: ## the worker while everything around it fails, for CHAOS_FOR (2h); CHAOS='--seed 7' strikes as before (needs what make stack needs)
	@jars=$$(deploy/stack/stack jars) && SLOTSYNC_TEST_KAFKA_JARS=$$jars go run ./cmd/chaos --for $(CHAOS_FOR) $(CHAOS)

chaos-proof: ## breaks the worker in each of the ways of cmd/chaos/testdata/broken (BROKEN: in those), and wants make chaos to notice
	@jars=$$(deploy/stack/stack jars) && SLOTSYNC_TEST_KAFKA_JARS=$$jars cmd/chaos/prove $(BROKEN)

build: ## bin/slotsync
	CGO_ENABLED=0 go build -trimpath -o bin/slotsync ./cmd/slotsync

image: ## the container image, with docker, podman or buildah
	@engine=$$(command -v docker || command -v podman || command -v buildah) || \
		{ echo 'none of docker, podman and buildah is there; .ci/image builds with buildah, which it installs' >&2; exit 1; }; \
	set -x; $$engine build --build-arg REVISION=$$(git rev-parse HEAD) -t $(IMAGE) .
