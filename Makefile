# Tributary: `make` prints the targets.
GO ?= go
WORK ?= .demo
ARGS ?=

.PHONY: validate validate-all population
.PHONY: help build demo demo-clean test lint fuzz kill test-kafka atomicity bench

help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## build bin/tributary
	$(GO) build -o bin/tributary ./cmd/tributary

demo: build ## two databases, the pipeline, the API and the change topic, in one command
	@bin/tributary demo --work $(WORK) $(ARGS)

demo-clean: build ## remove everything that `make demo` made
	@bin/tributary demo --work $(WORK) --clean

test: ## set up what is missing, then run every test
	scripts/setup
	scripts/setup-kafka
	$(GO) vet ./...
	@echo "the longest package runs first, and prints first: some minutes without a line"
	$(GO) test -timeout 20m ./integration ./...

validate: ## the HL7 validator on one of each shape that the sample members are served in (ARGS="--data DIR")
	scripts/validate $(ARGS)

validate-all: ## the HL7 validator on everything that is served
	scripts/validate --all $(ARGS)

population: ## what is served against Synthea's own FHIR export of a population that no test has (ARGS="--seed N STATE")
	scripts/population $(ARGS)

lint: ## go vet and staticcheck
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@latest ./...

fuzz: ## every fuzz target for T (default 30s)
	scripts/fuzz $(or $(T),30s)

kill: ## the kill tests at their full length: fifty kill -9 of two, and ten of a replay
	TRIBUTARY_KILLS=50 TRIBUTARY_REPLAY_KILLS=10 $(GO) test -count=1 -timeout 60m -run 'TestKill|TestReplay|TestRecord' -v ./integration

test-kafka: ## the pipeline and kill tests on a real Kafka at their full length: fifty kills of process and broker, twelve on three brokers, eight cuts between them; a registry's server
	scripts/setup
	scripts/setup-kafka
	TRIBUTARY_KAFKA=1 TRIBUTARY_KAFKA_KILLS=50 TRIBUTARY_CLUSTER_KILLS=12 TRIBUTARY_CLUSTER_CUTS=8 TRIBUTARY_AWAY=5 TRIBUTARY_AWAY_SECONDS=60 $(GO) test -count=1 -timeout 60m -run 'TestKafka' -v ./integration

atomicity: ## the atomicity test at its full length: ten thousand transactions
	TRIBUTARY_TRANSACTIONS=10000 $(GO) test -count=1 -timeout 60m -run TestAtomicity -v ./integration

bench: ## the benchmarks of bench/README.md
	scripts/bench
