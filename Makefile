# What people type. Everything that is built is cached outside the checkout under a key of its inputs.
SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help

export MAILFILTER_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/mailfilter-operator
VENV := $(MAILFILTER_CACHE)/venv/$(shell cat requirements-dev.lock pyproject.toml | sha256sum | cut -c1-16)
CLUSTER := python3 -m tests.cluster

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: setup cluster ## set everything up and show a MailFilter at work
	@$(CLUSTER) run -- .venv/bin/python -m tests.demo

test: setup lint ## set everything up and run all tests, in a cluster of their own
	@tests/run-tests $(TESTS)

bench: setup ## measure, and print each figure beside its target
	@PYTHONPATH=operator tests/with-cluster bench node .venv/bin/python -m tests.bench $(BENCH)

soak: setup ## ten minutes of changes (SOAK_MINUTES), two million signatures (SOAK_SIGNATURES), many pods (SOAK_PODS)
	@SOAK_MINUTES=$${SOAK_MINUTES:-10} SOAK_SIGNATURES=$${SOAK_SIGNATURES:-2000000} SOAK_PODS=$${SOAK_PODS:-50} \
		tests/run-tests tests/e2e/test_soak.py tests/e2e/test_many_signatures.py tests/e2e/test_blocking_reloads.py \
		tests/e2e/test_shared_signatures.py

down: ## remove the demo's cluster and those of tests and measurements
	@$(CLUSTER) down && MAILFILTER_CLUSTER=test $(CLUSTER) down && MAILFILTER_CLUSTER=test2 $(CLUSTER) down && MAILFILTER_CLUSTER=bench $(CLUSTER) down

setup: ## Python environment, linked as .venv
	@tests/setup-venv "$(VENV)" && ln -sfn "$(VENV)" .venv

packages:
	@$(CLUSTER) packages >&2

binaries: packages
	@$(CLUSTER) binaries >&2

images: packages ## build the images; prints where the archives are
	@image/build all
	@image/build custom tests/mail/image localhost/mailfilter-test-mta:0.1.0

cluster: binaries ## one-node Kubernetes with the images loaded
	@archives=$$($(MAKE) -s images) && $(CLUSTER) up && $(CLUSTER) load $$archives

lint: setup packages ## format, lint, types, import layers, YAML, shell
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .
	@.venv/bin/mypy
	@PYTHONPATH=operator .venv/bin/lint-imports
	@.venv/bin/yamllint --strict .
	@tests/check-shell

manifests: setup ## write manifests/install.yaml from its parts
	@.venv/bin/python manifests/assemble.py

lock: ## resolve the dependencies anew
	@tests/lock

.PHONY: help demo test bench soak down setup packages binaries images cluster lint manifests lock
