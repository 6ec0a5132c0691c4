# All tasks for people. Only Docker and make are needed on the host; everything is compiled, tested and run in images. `make help` lists the tasks.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BASE := debian:trixie-slim
SERVICES := smtpd verifier delivery mailbox imapd pop3d accounts reporter admin
THIRD := nats redis knot setup
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
JOBS ?= $(shell nproc)
# the toolchain, on this source tree, at the path that the image's compile stage uses
IN = docker run --rm --init -v $(CURDIR):/src -w /src -e HOME=/tmp postbus/toolchain

.PHONY: help docker base toolchain build images up down demo demo-down test check fuzz imap-model thunderbird bench bench-verify chaos outgrow k8s-test clean unit integration e2e

help: ## prints this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

docker: ## installs Docker, when it is missing and you are root (Debian)
	@if docker info >/dev/null 2>&1; then echo "Docker is there and runs."; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update && apt-get install -y docker.io docker-compose && (service docker start || systemctl start docker); \
	else echo "Run this as root:  apt-get update && apt-get install -y docker.io docker-compose"; exit 1; fi

need-docker:
	@docker info >/dev/null 2>&1 || { echo "Docker is missing or does not run. As root:  apt-get update && apt-get install -y docker.io docker-compose    (or: make docker)"; exit 1; }
	@$(COMPOSE) version >/dev/null 2>&1 || { echo "Docker Compose is missing. As root:  apt-get install -y docker-compose"; exit 1; }

base: need-docker ## the base image: found, pulled, or made with debootstrap
	@deploy/base-image $(BASE)

# Builds the Dockerfile up to a target; docker's cache makes a second build fast.
image = deploy/build-image $(1)

toolchain: base
	@$(call image,toolchain)

build: toolchain ## compiles all programs into build/release (incremental)
	@$(IN) make -f build.mk -j$(JOBS) programs

images: build ## all images of a site
	@for target in $(THIRD) $(SERVICES); do deploy/build-image $$target; done

up: images ## starts one site from compose.yaml (settings: .env)
	@$(COMPOSE) up -d --no-build
	@deploy/wait-healthy "$(COMPOSE)"
	@echo; echo "Postbus runs. Make a domain and an account:"; \
	echo "  docker exec -it $$($(COMPOSE) ps -q admin | cut -c1-12) postbus domain add example.org"; \
	echo "  docker exec -it $$($(COMPOSE) ps -q admin | cut -c1-12) postbus account add you@example.org"; \
	echo "The admin token for the REST API (http://127.0.0.1:8080) is in that container: /run/secrets/postbus/admin.token"

down: ## stops it; the data stays in its volumes
	@$(COMPOSE) down --timeout 30

demo: images ## two sites, a small internet, one real message, and its ten steps
	@$(call image,client)
	@deploy/demo/demo up "$(COMPOSE)"

demo-down: ## removes everything of the demo
	@deploy/demo/demo down "$(COMPOSE)"

test: toolchain ## builds and tests everything; ends with "N passed, N failed"
	@tests/run-all "$(COMPOSE)"

check: toolchain ## layout, static analysis, schemas, unit tests
	@$(IN) tests/check

unit: toolchain ## unit tests with sanitizers
	@$(IN) tests/unit/run asan

integration: build ## integration tests on real NATS, Redis and Knot
	@$(IN) python3 -m pytest -q tests/integration

imap-model: build ## random commands of 8 IMAP clients against a model, long: MODEL_STEPS (10000) steps, MODEL_SEEDS (6) runs; then with servers being killed
	@$(IN) env POSTBUS_MODEL_SEED=$${MODEL_SEED:-random} POSTBUS_MODEL_STEPS=$${MODEL_STEPS:-10000} POSTBUS_MODEL_SEEDS=$${MODEL_SEEDS:-6} python3 -m pytest -q tests/integration/imap_model_test.py
	@$(IN) env POSTBUS_MODEL_SEED=$${MODEL_SEED:-random} POSTBUS_MODEL_STEPS=$${MODEL_STEPS:-10000} POSTBUS_MODEL_SEEDS=1 POSTBUS_MODEL_KILL=1 python3 -m pytest -q tests/integration/imap_model_test.py

thunderbird: build ## Thunderbird itself against imapd (its package is large, so it is not in "make test")
	@$(call image,thunderbird)
	@docker run --rm --init --shm-size=512m -v $(CURDIR):/src -w /src -e HOME=/tmp postbus/thunderbird python3 -m pytest -q -p no:cacheprovider tests/thunderbird

fuzz: toolchain ## every fuzz target for FUZZ_SECONDS each (300)
	@$(IN) tests/fuzz/run $${FUZZ_SECONDS:-300}

bench: images ## the site as compose.yaml starts it beside Postfix + Dovecot, then bench-verify (WRITE=1: docs/performance.md)
	@$(call image,peer)
	@$(IN) make -s -f build.mk bench
	@tests/bench/bench "$(COMPOSE)" $(if $(WRITE),--write) $(BENCH_OPTIONS)
	@$(IN) python3 tests/bench/verify/run.py

bench-verify: build ## the proofs beside OpenDKIM + OpenDMARC + policyd-spf and beside rspamd
	@$(IN) make -f build.mk bench
	@$(IN) python3 tests/bench/verify/run.py

chaos: build ## breaks everything in turn while mail flows, and counts every recipient
	@docker run --rm --init --tmpfs /data:size=96m -v $(CURDIR):/src -w /src -e HOME=/tmp postbus/toolchain python3 tests/chaos/run.py $(CHAOS_OPTIONS)

outgrow: build ## mail of ten times Redis's memory (OUTGROW_MB, 256), moving and being read while services are killed
	@$(IN) env OUTGROW_MB=$${OUTGROW_MB:-256} OUTGROW_SECONDS=7200 python3 -m pytest -q -s -p no:cacheprovider tests/integration/cold_test.py -k outgrows

k8s-test: images ## deploys deploy/k8s to the cluster of KUBECONFIG and tries it (K8S_LOAD: command that loads images into it)
	@$(call image,client)
	@deploy/k8s/test

clean: ## removes what was compiled
	@if docker image inspect postbus/toolchain >/dev/null 2>&1; then $(IN) rm -rf build; else rm -rf build; fi
