# `make` lists the targets. Each is a command that people and CI run the same way.

SHELL := /bin/sh
PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release/mailfleet
# Said before a build that compiles every dependency.
FIRST_BUILD = [ -e $(TARGET)/debug/mailfleet ] || echo "The first build compiles every dependency: about 4 minutes on two cores."

.PHONY: help book pictures build cold-build demo test crash outage ledger memory campaigns chart image real verdict gitops bench bench-line bench-api bench-dkim bench-pages limits providers simulate soak fuzz lint format setup clean demo-kubernetes kubernetes

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo
	@echo '  ARGS="…" passes arguments to a suite: --help, --list, --only NAME.'
	@echo '  SETUP=no installs nothing: what is missing is named, and the tests that need it are skipped.'

build: ## the release binary, target/release/mailfleet
	cargo build --locked --release

cold-build: ## how long a first build takes, debug and release, and whether that is within its bound; from an empty folder
	scripts/cold-build
	scripts/cold-build --release

demo: ## two local servers, one of which dies halfway; 2,000 recipients, each mailed once; nothing leaves this machine
	@$(FIRST_BUILD)
	cargo run --locked -- demo

demo-kubernetes: ## a Kubernetes control plane on this machine, examples/kubernetes, and what kubectl shows of a completed campaign
	scripts/setup $(if $(filter no,$(SETUP)),--check) kubernetes
	@$(FIRST_BUILD)
	cargo build --locked
	MAILFLEET_BINARY=$(TARGET)/debug/mailfleet $(PYTHON) scripts/demo-kubernetes $(ARGS)

test: ## set-up, cargo test, lint, and every suite in its quick mode
	SETUP=$(SETUP) scripts/test

crash: build ## 25 kill -9 at random points of a campaign of 20,000, over SMTP and APIs: nobody mailed twice, nobody lost
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/crash.py $(ARGS)

SEED ?= 1
SEEDS ?= 1000
simulate: ## the data plane with its ledger in simulated time, by seed: kills, locks, edits, servers that fail; SEEDS=10000, from SEED on
	SEED=$(SEED) SEEDS=$(SEEDS) cargo test --locked --lib simulated -- --nocapture

ledger: build ## the ledger's database locked and its disk full during a campaign: it waits, says why, and resumes
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/ledger.py $(ARGS)

outage: build ## one of two servers killed, hung, or answering 421 halfway through a campaign
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/outage.py $(ARGS)

campaigns: build ## campaigns deleted and reapplied, with a copied ledger, in a new run, narrowed, weighted; a million recipients
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/campaigns.py $(ARGS)

image: build ## the container image as an OCI archive, without a container engine
	scripts/image --binary $(RELEASE) $(ARGS)

chart: build ## the chart on a real API server: rendered, installed, upgraded, uninstalled; its RBAC by the audit log
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/chart.py $(ARGS)

memory: build ## peak memory with 100,000 and 1,000,000 recipients
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/campaigns.py --memory $(ARGS)

real: build ## Postfix with logins, greylisting, 421 and bad certificates; smtp-sink; mailpit; a Maildir
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/real.py $(ARGS)

kubernetes: setup build ## the controller on a real API server: 5,000 servers, outages, failover, tenancy, a wiped cluster
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/kubernetes.py $(ARGS)

verdict: build ## 1,000 manifests: a real API server and `mailfleet validate` must agree
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/verdict.py $(ARGS)

gitops: build ## every state of every object as kstatus, Flux and Argo CD see it, by their own code
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/gitops.py $(ARGS)

bench: build ## against postfix's smtp-source and lettre's pool, to the same sinks, at round trips of 0, 20 and 80 ms; draws the plot of docs/comparison.md
	cargo build --locked --release --example lettre-pool
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/run.py $(if $(findstring --quick,$(ARGS))$(findstring --against,$(ARGS)),,--figures docs/pictures/bench.json) $(ARGS)

bench-line: build ## SMTP over round trips of 20 and 80 ms, against what is possible, by extensions, connections and servers
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/line.py $(ARGS)

bench-dkim: build ## signing (RSA and Ed25519): a whole send against the library's signatures alone
	cargo build --locked --release --example dkim-bare
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/dkim.py $(ARGS)

bench-pages: build ## what 500 live pages of the dashboard cost a campaign
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/pages.py $(ARGS)

soak: build ## an hour with a change of the configuration each second, on SQLite and PostgreSQL: memory, handles, threads, length of turns
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/soak.py $(ARGS)

bench-api: build ## vendors' APIs over round trips of 20 and 80 ms, against what is possible, singly and in batches
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) bench/api.py $(ARGS)

limits: build ## limits that add up, servers that say "too fast", windows, and fairness between customers
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/limits.py $(ARGS)
	MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/pools.py

providers: setup build ## every type of server, judged by Prism, vendors' SDKs, moto, botocore, Postfix with Dovecot
	for suite in providers plugin ses gmail; do MAILFLEET_BINARY=$(RELEASE) $(PYTHON) tests/$$suite.py || exit 1; done

book: ## the book of docs/ with a search, as HTML below target/book; mdBook makes it
	scripts/setup $(if $(filter no,$(SETUP)),--check) mdbook
	scripts/book $(ARGS)

pictures: ## the pictures of README.md, from the real thing; look at them before you commit them
	MAILFLEET_BINARY=$(or $(MAILFLEET_BINARY),$(RELEASE)) $(PYTHON) scripts/pictures $(ARGS)

fuzz: ## the fuzz targets, a minute each, with AddressSanitizer; ARGS="TARGET --seconds 3600"
	scripts/fuzz $(ARGS)

lint: ## format, clippy, documentation; licences, sources and advisories of dependencies
	scripts/lint

format: ## rustfmt over every file
	git ls-files -z '*.rs' | xargs -0 rustfmt --edition 2024

setup: ## install and build what the tests need; it says first what that is
	scripts/setup $(if $(filter no,$(SETUP)),--check)

clean: ## remove what cargo built
	cargo clean
