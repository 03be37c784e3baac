# make help lists the targets.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
TOOLS   := -modfile=.ci/tools/go.mod
FUZZ    ?= 2s
# Tests without goroutines of their own that take minutes under the race detector,
# which would find nothing in them.
ALONE   := ^(TestScreenNeverMisses|TestScreenChangesNothing|TestDecodeBounds|TestDecoded|TestEvasions|TestProfiles|TestTolerances|TestFickle|TestPlainWords|TestRepeatedNames|TestInspectHead|TestResponses|TestExclusions|TestBulgarianText|TestOutside|TestOutsideText|TestAttacksInText|TestAttacksBesideTolerance|TestVariants|TestSeries|TestDiskFull|TestGuards|TestExclusionsOfIncidents|TestContract|TestFlood|TestFloodLeavesOthers|TestHashedFlood|FuzzScreen)$$

HTTPS_PORT ?= 8443
HTTP_PORT  ?= 8080
ADMIN_PORT ?= 9180

.DEFAULT_GOAL := help
.PHONY: help run build test check fips bench bench-docs bench-inspection bench-go fuzz e2e generate dashboards dist clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo '  Ports of "make run": HTTPS_PORT=$(HTTPS_PORT) HTTP_PORT=$(HTTP_PORT) ADMIN_PORT=$(ADMIN_PORT)'

build: ## build bin/vazel
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/vazel ./cmd/vazel

run: build ## run a whole node with example services; Ctrl-C stops it
	bin/vazel demo -https $(HTTPS_PORT) -http $(HTTP_PORT) -admin $(ADMIN_PORT)

test: ## run the tests
	$(GO) test ./...

check: ## everything that CI runs: format, vet, staticcheck, generated files, race, fuzzing, end to end
	@echo '== format'; out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	@echo '== vet'; $(GO) vet ./... && $(GO) vet -tags e2e ./... && cd deploy/bench && $(GO) vet . && $(GO) test .
	@echo '== staticcheck'; $(GO) tool $(TOOLS) staticcheck ./...
	@echo '== modules'; $(GO) mod tidy -diff
	@echo '== generated files'; $(MAKE) -s generate && git diff --exit-code -- config docs dashboards || { echo 'generated files are stale: commit the result of make generate'; exit 1; }
	@echo '== tests with race detector'; $(GO) test -race -skip '$(ALONE)' ./...
	@echo '== those that are alone'; $(GO) test -run '$(ALONE)' ./...
	@echo '== the same requests against the standard HTTP/1.1 server'; VAZEL_TEST_HTTP1=standard $(GO) test ./gateway
	@echo '== FIPS 140-3'; $(MAKE) -s fips
	@echo '== fuzzing'; $(MAKE) -s fuzz
	@echo '== end to end'; $(MAKE) -s e2e

# The certified version of the Go Cryptographic Module, and what uses cryptography.
fips: ## build with the certified Go Cryptographic Module and test in FIPS 140-3 mode, HTTP/3 included
	GOFIPS140=v1.0.0 CGO_ENABLED=0 $(GO) build -trimpath -o /dev/null ./cmd/vazel
	GOFIPS140=v1.0.0 GODEBUG=fips140=on $(GO) test -skip '$(ALONE)' ./certs ./gateway
	GOFIPS140=v1.0.0 GODEBUG=fips140=on $(GO) test -run 'TestScripts|TestUpgrade|TestWatch' ./cmd/vazel

# A fuzzer whose time is up sometimes says "context deadline exceeded" and
# fails, without an input to blame: a race in Go before 1.27 (go.dev/issue/75804).
fuzz: ## fuzz each target for FUZZ (2s)
	@set -e; out=$$(mktemp); trap 'rm -f "$$out"' EXIT; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) $$pkg >"$$out" 2>&1 \
	      || { grep -q 'context deadline exceeded' "$$out" && ! grep -q 'Failing input' "$$out"; } \
	      || { cat "$$out"; exit 1; }; \
	  done; done

e2e: ## run the program against real components (nginx, MapServer, testssl.sh, Chromium, OpenSSL, Prometheus, wrk, h2load, h2spec, curl)
	$(GO) test -tags e2e -count=1 -parallel 4 -run E2E -timeout 15m ./cmd/vazel

bench: build ## compare with nginx, HAProxy and, if installed, Caddy and Traefik (a quarter of an hour), into bin/bench.md; BENCH='-scenarios h1' is passed on
	deploy/bench/run.sh -rounds 2 -dur 2s -md ../../bin/bench.md $(BENCH)

bench-docs: build ## measure with care and put the results into README.md and docs/performance.md (an hour on a quiet machine)
	$(GO) test -run '^$$' -bench '^BenchmarkRequest$$' -benchmem -benchtime 20000x -count 5 ./gateway > bin/chain.txt
	deploy/bench/run.sh -rounds 5 -dur 3s -md ../../bin/bench.md -chain ../../bin/chain.txt -docs ../.. $(BENCH)

bench-inspection: build ## what inspection costs beside nginx with ModSecurity and the rule engine alone, into docs/inspection.md (ten minutes)
	for p in 1 2; do CRS=$$($(GO) list -m -f '{{.Dir}}' github.com/corazawaf/coraza-coreruleset/v4)/rules/@owasp_crs \
	  deploy/bench/run.sh -inspection -paranoia $$p -rounds 3 -dur 1s -docs ../.. || exit 1; done

bench-go: ## Go benchmarks: the whole chain against a bare reverse proxy, and the parts
	$(GO) test -run '^$$' -bench . -benchmem ./...

generate: dashboards ## write generated files: documentation of settings, manual, schema, dashboards
	cd config && $(GO) generate .
	mkdir -p docs
	$(GO) run ./cmd/vazel manual > docs/configuration.md
	$(GO) run ./cmd/vazel schema > docs/vazel.schema.json

# Grafana's builders come by npm, as package-lock.json has them.
dashboards/generate/node_modules: dashboards/generate/package-lock.json
	cd dashboards/generate && npm ci --no-audit --no-fund --silent && touch node_modules

dashboards: dashboards/generate/node_modules ## write the dashboards of Grafana (needs Node.js)
	cd dashboards/generate && npm run --silent generate

dist: ## static binaries with checksums in dist/
	rm -rf dist && mkdir -p dist
	for arch in amd64 arm64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION)' -o dist/vazel-linux-$$arch ./cmd/vazel; done
	cp docs/vazel.schema.json LICENSE dist/
	cd dist && sha256sum * > SHA256SUMS

clean: ## remove what was built
	rm -rf bin dist .dev dashboards/generate/node_modules
