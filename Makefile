# The two commands, and what they need. Everything slow is built once and kept outside the checkout (LLM_PORTFOLIO_CACHE,
# else ~/.cache/llm-portfolio). With KUBECONFIG set, both use that cluster instead of starting one.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-cluster bench lint up down tools

# They mostly wait for the cluster, so that more of them than processors run at once.
SIDE_BY_SIDE := 4

# Tests that could not run here name themselves in this file.
SKIPPED := $(CURDIR)/target/e2e-skipped.txt

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: tools ## A real Kubernetes, a real model, a chat through a policy, a verdict; ends with what to try next
	@echo "building what runs the demo: a minute or two, the first time more"
	cargo run --quiet -p e2e -- demo

test: lint test-unit test-cluster ## Lints and all tests, all layers

test-unit: tools ## The layers that need no cluster; a minute
	cargo test --workspace --no-run
	cargo test --workspace --lib --bins
	cargo test --workspace --doc

test-cluster: tools ## The layers on a real cluster, started when none runs
	@mkdir -p target && : >$(SKIPPED)
	E2E_SKIPPED=$(SKIPPED) cargo test --workspace --test '*' --no-fail-fast -- --test-threads=$(SIDE_BY_SIDE)
	@[ ! -s $(SKIPPED) ] || { echo "$$(wc -l <$(SKIPPED)) skipped:"; cat $(SKIPPED); }

bench: tools ## What the gateway costs per request, beside nginx and beside nothing; six minutes
	cargo run --release --quiet -p e2e -- bench

lint: tools ## Format and lints, as strict as they go
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

up: tools ## Start the local cluster and leave it running
	cargo run --quiet -p e2e -- up

down: tools ## End the local cluster and remove every trace of it
	cargo run --quiet -p e2e -- down

tools:
	@for tool in cargo go python3; do command -v $$tool >/dev/null || missing="$${missing:-} $$tool"; done; \
	[ -z "$${missing:-}" ] || { echo "missing:$$missing. Install Rust 1.89 or later (https://rustup.rs), Go 1.26 or later (https://go.dev/dl), Python 3 with pip."; exit 1; }
