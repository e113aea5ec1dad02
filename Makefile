# Tributary: `make` prints the targets.
GO ?= go
WORK ?= .demo
ARGS ?=

.PHONY: help build demo demo-clean test lint fuzz kill atomicity bench

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
	$(GO) vet ./...
	$(GO) test -timeout 15m ./...

lint: ## go vet and staticcheck
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@latest ./...

fuzz: ## every fuzz target for T (default 30s)
	scripts/fuzz $(or $(T),30s)

kill: ## the kill test at its full length: fifty kill -9
	TRIBUTARY_KILLS=50 $(GO) test -count=1 -timeout 60m -run TestKill -v ./integration

atomicity: ## the atomicity test at its full length: ten thousand transactions
	TRIBUTARY_TRANSACTIONS=10000 $(GO) test -count=1 -timeout 60m -run TestAtomicity -v ./integration

bench: ## the benchmarks of bench/README.md
	scripts/bench
