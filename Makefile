# What people type. Everything that is built is cached outside the checkout under a key of its inputs.
SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help

export MAILFILTER_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/mailfilter-operator
VENV := $(MAILFILTER_CACHE)/venv/$(shell cat requirements-dev.lock pyproject.toml | sha256sum | cut -c1-16)
CLUSTER := python3 -m tests.cluster

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## Python environment, linked as .venv
	@tests/setup-venv "$(VENV)" && ln -sfn "$(VENV)" .venv

lint: setup ## format, lint, types, import layers, YAML, shell
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .
	@.venv/bin/mypy
	@PYTHONPATH=operator .venv/bin/lint-imports
	@.venv/bin/yamllint --strict .
	@tests/check-shell

.PHONY: help setup lint
