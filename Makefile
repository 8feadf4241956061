# Sidekey: the commands people type. Node 26 and every tool come from package-lock.json.
SHELL := /bin/bash
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.package-lock.json
# As the chart names it; in full, since Podman would make another name of it.
IMAGE ?= docker.io/library/sidekey:$(shell sed -n 's/^appVersion: *//p' charts/sidekey/Chart.yaml)

.DEFAULT_GOAL := help
.PHONY: help demo test check image cluster cluster-images cluster-clean cluster-down e2e conformance-store chaos bench bench-store bench-cluster fuzz goldens generate build clean .test-parts .test-cluster

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 26

demo: $(INSTALLED) ## Watch real SDKs reach APIs with keys they never hold (30 s)
	@node test/demo/main.ts

# Beside each other: most of what both do is to wait for real servers. What is said on the cluster comes whole, when it has ended.
test: $(INSTALLED) check ## Everything that CI runs
	@mkdir -p .cache && rm -f .cache/tests.json .cache/e2e.json
	@node test/cluster/main.ts build
	@$(MAKE) --no-print-directory --jobs=2 --keep-going .test-parts .test-cluster

.test-parts:
	@vitest run --reporter=default --reporter=json --outputFile.json=.cache/tests.json

.test-cluster:
	@vitest run --config test/cluster/e2e/vitest.config.ts --reporter=default --reporter=json --outputFile.json=.cache/e2e.json >.cache/e2e.log 2>&1; \
	status=$$?; cat .cache/e2e.log; exit $$status

check: $(INSTALLED) ## Types, lint, format, folder boundaries, unused code
	@tsc --noEmit
	@biome check --error-on-warnings .
	@knip
	@node crds/generate/main.ts --check

image: ## The product's image, by Podman or Docker (IMAGE=NAME:TAG; IMAGE_ARGS="--build-arg …")
	@if command -v podman >/dev/null; then podman build --timestamp 0 -t $(IMAGE) $(IMAGE_ARGS) .; \
	else docker build -f Containerfile --build-arg SOURCE_DATE_EPOCH=0 --provenance=false -t $(IMAGE) $(IMAGE_ARGS) .; fi

cluster: $(INSTALLED) ## A Kubernetes cluster with our image: kind, or our own without Docker (Linux, root; 10 s, the first time 5 to 15 min)
	@node test/cluster/main.ts up

cluster-images: $(INSTALLED) ## The images that the tests need in a cluster of yours, as archives in .cache/images (DIR=…)
	@node test/cluster/main.ts images $(DIR)

cluster-clean: $(INSTALLED) ## Take from the cluster of KUBECONFIG what a run of the tests left that was cut short
	@node test/cluster/main.ts clean

cluster-down: $(INSTALLED) ## End it, and all that it started
	@node test/cluster/main.ts down

e2e: $(INSTALLED) ## The product on a real cluster: that of KUBECONFIG, by kind, or our own (6 min)
	@vitest run --config test/cluster/e2e/vitest.config.ts

conformance-store: $(INSTALLED) ## One suite for SQLite and PostgreSQL, then replicas and failover on a real server (2 min)
	@vitest run test/conformance/store

chaos: $(INSTALLED) ## Kill stores, cut their power and their database, and hold them to their word (20 min; CHAOS="--seconds 60 --seed 7")
	@node test/chaos/main.ts $(CHAOS)

bench: $(INSTALLED) ## Compare with nginx, Envoy and haproxy, side by side (BENCH=--quick for 3 minutes)
	@node test/bench/main.ts $(BENCH)

bench-store: $(INSTALLED) ## The store under load: 10,000 sidecars, both engines (BENCH=--quick for 3 minutes)
	@node test/bench-store/main.ts $(BENCH)

bench-cluster: $(INSTALLED) ## Pod start, admission, propagation, rollout and 5,000 objects on a cluster, 15 min (BENCH=--quick for 4)
	@node test/bench-cluster/main.ts $(BENCH)

fuzz: $(INSTALLED) ## Throw random input at codec, authorities, ClientHellos and YAML (FUZZ_SECONDS=60)
	@node test/fuzz/main.ts --seconds $(or $(FUZZ_SECONDS),60)

generate: $(INSTALLED) ## Write the CRDs from api/
	@node crds/generate/main.ts

goldens: $(INSTALLED) ## Rewrite what tests compare with; read the diff before you commit it
	@GOLDENS=write vitest run --update

build: $(INSTALLED) ## Bundle the parts for the image into dist/
	@rolldown -c rolldown.config.ts

clean: ## Remove what the targets made
	@rm -rf node_modules dist .cache coverage test/bench/results

$(INSTALLED): package.json package-lock.json
	@echo "installing packages…" >&2
	@npm ci --no-progress --loglevel=error
	@touch $@
