# `make` lists the targets. `.ci/run` runs those that a change must pass.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
GOBIN := $(shell go env GOPATH)/bin
LINT := $(GOBIN)/golangci-lint

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | column -ts $$'\t'

.PHONY: run
run: ## start the gateway with its demo model
	go run ./examples/gateway

.PHONY: test
test: ## run all tests, with the race detector and in random order
	.ci/test

.PHONY: test-bare
test-bare: ## run all tests as on a machine with Go only
	.ci/test-bare

.PHONY: nightly
nightly: ## run the outage tests with their long cases, and all tests with 32 bits
	GINFER_NIGHTLY=1 go test -count=1 -timeout 30m -run 'Outage' ./internal/e2e
	.ci/platforms -all
	GOARCH=386 CGO_ENABLED=0 go test -vet=off -timeout 30m ./...

.PHONY: neighbours
neighbours: ## run the tests beside other software that take minutes
	GINFER_NEIGHBOURS=1 go test -count=1 -timeout 60m -run Neighbour ./...

.PHONY: tools
tools: ## install linter and formatter at the versions in .ci/tools/go.mod
	cd .ci/tools && GOBIN=$(GOBIN) go install tool

.PHONY: npm
npm: ## install the npm packages of tests: an OpenID provider, clients, tests of HTTP caches
	npm ci --prefix internal/e2e/oidc --no-audit --no-fund --loglevel=error
	npm ci --prefix internal/e2e/clients --no-audit --no-fund --loglevel=error
	npm ci --prefix internal/e2e/cachetests --no-audit --no-fund --loglevel=error

.PHONY: agents
agents: ## install the agents that tests run against the gateway, from npm (800 MB)
	npm ci --prefix internal/e2e/agents --no-audit --no-fund --loglevel=error

# Each release of an SDK in tests has its own module.
SDKS := openai112 openai316 openainew

.PHONY: sdks
sdks: ## download the SDKs for Go that tests run
	for sdk in $(SDKS); do go -C internal/e2e/$$sdk mod download; done

.PHONY: lint
lint: ## check style and the imports of each package
	$(LINT) run ./...
	$(LINT) fmt --diff ./...
	cd benchmarks && $(LINT) run ./...

.PHONY: counts
counts: ## print sizes and measures of style, and check what exists once
	.ci/counts
	go test -count=1 -tags ginfer_lexed -run TestEachByteIsLexedOnce ./internal/e2e

.PHONY: fmt
fmt: ## format the code
	$(LINT) fmt ./...

.PHONY: vet
vet: ## go vet
	go vet ./...
	go -C benchmarks vet ./...

.PHONY: platforms
platforms: ## vet for 32 bits (make nightly: for ARM, macOS and Windows too)
	.ci/platforms

.PHONY: tidy
tidy: ## check that go.mod and go.sum are up to date
	go mod tidy -diff
	cd .ci/tools && go mod tidy -diff
	go -C benchmarks mod tidy -diff
	for sdk in $(SDKS); do go -C internal/e2e/$$sdk mod tidy -diff; done

.PHONY: build
build: ## build every package and command
	go build -o /dev/null ./...

.PHONY: copy-example
copy-example: ## test a copy of examples/gateway in a module of its own
	.ci/copy-example

.PHONY: consumer
consumer: ## check the go.sum of a module that imports ginfer
	.ci/consumer

.PHONY: readme
readme: ## run the commands and build the snippets of README.md
	.ci/readme

# These require different versions of Kubernetes' modules, so .ci/tools/go.mod can't have
# both.
DEPLOY_TOOLS := helm.sh/helm/v4/cmd/helm@v4.3.1 sigs.k8s.io/kubectl-validate@v0.0.4

.PHONY: deploy-tools
deploy-tools: ## install the tools that check deploy/ (minutes)
	for tool in $(DEPLOY_TOOLS); do GOBIN=$(GOBIN) go install -ldflags='-s -w' $$tool; done

.PHONY: deploy
deploy: ## check the image's build, the Helm chart and the Argo CD application
	.ci/deploy

.PHONY: pipeline-tools
pipeline-tools: ## install the tool that runs .gitlab-ci.yml
	npm ci --prefix .ci/gitlab --no-audit --no-fund --loglevel=error

.PHONY: pipeline
pipeline: ## list the jobs of the GitLab pipeline, and run its build
	.ci/pipeline

.PHONY: schema
schema: ## update the JSON Schema of the gateway's configuration
	UPDATE_SCHEMA=1 go test ./examples/gateway/config -run TestSchema -count=1

.PHONY: bench
bench: ## run all benchmarks, with those of other libraries (minutes)
	go test -run '^$$' -bench . -benchmem -count 5 ./...
	go -C benchmarks test -run '^$$' -bench . -benchmem -count 5 ./...

.PHONY: bench-smoke
bench-smoke: ## run each benchmark once, and the comparison with other proxies for a moment
	@out=$$(go test -short -run '^$$' -bench . -benchtime 1x ./... 2>&1) || { echo "$$out"; exit 1; }
	@out=$$(go -C benchmarks test -short -run '^$$' -bench . -benchtime 1x ./... 2>&1) || { echo "$$out"; exit 1; }
	go -C benchmarks run ./peers -rounds 1 -load 100ms -streams 5 -events 2 -only bare,gin,gateway

.PHONY: allocs
allocs: ## check that the packages that every request passes allocate no more than before
	.ci/allocs

.PHONY: bench-peers
bench-peers: ## compare the gateway with other proxies, into docs/benchmarks.md (15 minutes)
	go -C benchmarks run ./peers -write ../docs

.PHONY: bench-streams
bench-streams: ## 9,000 streams through the gateway, and its memory two minutes later
	go -C benchmarks run ./peers -only gateway -streams 9000 -settle 2m

.PHONY: bench-soak
bench-soak: ## load the gateway for five minutes, with its heap and goroutines
	go -C benchmarks run ./peers -only gateway -soak 5m

.PHONY: bench-where
bench-where: ## profile the gateway under load: where its time goes, into docs/benchmarks.md
	go -C benchmarks run ./peers -only gateway -where 12s -write ../docs

.PHONY: bench-diff
bench-diff: ## compare the benchmarks of hot packages with those of BASE (default: HEAD~1)
	.ci/bench-diff $(BASE)

.PHONY: profile
profile: ## load the gateway with wrk and profile it, into profiles/
	.ci/profile

.PHONY: fuzz
fuzz: ## fuzz every parser for 20 s each
	.ci/fuzz 20s
