# `make` lists the targets. Each is a command that people and CI run the same way.

SHELL := /bin/sh
PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release/mailfleet

.PHONY: help build demo test crash outage ledger memory campaigns chart image real verdict gitops bench bench-line bench-api limits providers lint format setup clean demo-kubernetes kubernetes

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

build: ## the release binary, target/release/mailfleet
	cargo build --locked --release

demo: ## two local servers, one dies half way, 2,000 recipients, each mailed once; nothing leaves this machine
	cargo run --locked --quiet -- demo

demo-kubernetes: setup ## a real control plane on this machine, examples/kubernetes, and what kubectl shows of a completed campaign
	cargo build --locked --quiet
	MAILFLEET_BINARY=$(TARGET)/debug/mailfleet $(PYTHON) scripts/demo-kubernetes

test: setup ## everything but the long suites: cargo test, lint, and the suites in their quick modes
	scripts/test

crash: build ## kill -9 at 25 random points of a campaign of 20,000, over SMTP and over APIs: nobody twice, nobody lost
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/crash.py $(ARGS)

ledger: build ## the ledger's database locked, its disk full, in mid-campaign: it waits, says why, and goes on
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/ledger.py $(ARGS)

outage: build ## one of two servers killed, hung, or answering 421 half way
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/outage.py $(ARGS)

campaigns: build ## deleted and applied again, a copied ledger, a new run, narrowed, weights, a million recipients
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/campaigns.py $(ARGS)

image: build ## the container image as an OCI archive, without a container engine
	scripts/image --binary $(RELEASE) $(ARGS)

chart: build ## the chart before a real API server: rendered, installed, upgraded, uninstalled; its rights by the audit log
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/chart.py $(ARGS)

memory: build ## the peak of memory for 100,000 and 1,000,000 recipients
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/campaigns.py --memory $(ARGS)

real: build ## Postfix with logins, greylisting, 421 and wrong certificates; smtp-sink; mailpit; a Maildir
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/real.py $(ARGS)

kubernetes: setup build ## the controller against a real API server: 5,000 servers, outages, takeover, tenancy, a wiped cluster
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/kubernetes.py $(ARGS)

verdict: build ## 1,000 manifests before a real API server and `mailfleet validate`: one verdict
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/verdict.py $(ARGS)

gitops: build ## each state of each object as kstatus, Flux and Argo CD see it, by their own code
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/gitops.py $(ARGS)

bench: build ## beside postfix's smtp-source and lettre's pool, to the same sinks, at 0, 20 and 80 ms
	cargo build --locked --release --example lettre-pool
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/run.py $(ARGS)

bench-line: build ## what lines of 20 and 80 ms let through, beside what they could, by extensions, connections and servers
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/line.py $(ARGS)

limits: build ## limits that add up, servers that say "too fast", windows, and customers in turn
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/limits.py $(ARGS)
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/pools.py

bench-api: build ## vendors' APIs over lines of 20 and 80 ms, beside what so many calls could carry, singly and in batches
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/api.py $(ARGS)

providers: setup build ## every type of server, judged by Prism, vendors' SDKs, moto, botocore, Postfix with Dovecot
	for suite in providers plugin ses gmail; do MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/$$suite.py || exit 1; done

lint: ## format, clippy, documentation, licences and sources of dependencies
	scripts/lint

format: ## rustfmt over every file
	git ls-files -z '*.rs' | xargs -0 rustfmt --edition 2024

setup: ## what the tests need, installed or built where it is missing
	scripts/setup

clean: ## what cargo built
	cargo clean
