# Everything a checkout can do. `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

version := $(shell sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= platform-token-operator:$(version)
# The first of these that works here. Where namespaces are forbidden: BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs.
CONTAINER ?= $(shell for tool in docker podman buildah; do $$tool info >/dev/null 2>&1 && echo $$tool && break; done)

tools := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/platform-token-operator/tools
cargo_deny := 0.20.2
cargo_mutants := 27.1.0
scripts := $(wildcard hack/*) .ci/run
# As hack/control-plane builds it, so that vet and build share their cache.
go := CGO_ENABLED=0 GOFLAGS=-mod=readonly go

.PHONY: help demo up down test simulate storm model mutants check check-rust check-deny check-crds check-go check-scripts bench image crds fmt clean prerequisites

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites ## A token's life on a real API server, from apply to delete, in half a minute
	@hack/demo

up: prerequisites ## Leave that world running in the background; prints the lines that point kubectl at it
	@hack/world up

down: ## End the world of `make up`
	@hack/world down

test: prerequisites ## Run all tests; those that need Kubernetes get a real control plane
	control_plane=$$(hack/control-plane); CONTROL_PLANE=$$control_plane RUST_TEST_THREADS=8 cargo test --locked

check: check-rust check-deny check-crds check-go check-scripts ## Everything that judges the source without running it

check-rust: prerequisites
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

check-deny: $(tools)/cargo-deny-$(cargo_deny)
	$(tools)/bin/cargo-deny --locked check --hide-inclusion-graph licenses bans sources

# Tools that run for a second need no optimised build.
$(tools)/%:
	@echo "installing $* into $(tools): minutes the first time, then cached" >&2
	name=$*; CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		cargo install --quiet --locked --root $(tools) "$${name%-*}@$${name##*-}"
	@touch $@

check-crds: prerequisites
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	cargo run -q --locked -- crd --dir "$$fresh"; \
	diff -ru crds "$$fresh" || { echo "crds/ is not what the types say: run 'make crds'" >&2; exit 1; }

check-go: prerequisites
	@unformatted=$$(gofmt -l tests/cluster); [[ -z $$unformatted ]] || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	cd tests/cluster && $(go) vet -trimpath ./...

check-scripts:
	@for script in $(scripts); do bash -n "$$script"; done

model: prerequisites ## Walk through small worlds completely with the rules that ship (minutes)
	cargo test --locked --profile simulate --test model -- --include-ignored --nocapture --test-threads=1

mutants: $(tools)/cargo-mutants-$(cargo_mutants) ## Which changes to the rules in src/plan no unit test notices (an hour)
	$(tools)/bin/cargo-mutants mutants --file 'src/plan/*.rs' --output target --no-shuffle --timeout 60 -- --lib plan::

simulate: prerequisites ## Simulate SEEDS=10000 random schedules, and every fault at every effect of every story
	ALL=1 SEEDS=$${SEEDS:-10000} cargo test --locked --profile simulate --test simulation -- --nocapture

storm: prerequisites ## Kill the operator N=200 times (SEED=…) while tokens and namespaces come and go; then count what leaked: nothing
	control_plane=$$(hack/control-plane); CONTROL_PLANE=$$control_plane N=$${N:-200} SEED=$${SEED:-$$RANDOM} \
		cargo test --locked --test storm -- --nocapture whenever

bench: prerequisites ## Speed of N=1000 tokens, fairness of FAIR=100 accounts, scale of SCALE=10000 tokens, LEDGER=10000 debts (0: not; all: half an hour)
	control_plane=$$(hack/control-plane); CONTROL_PLANE=$$control_plane cargo bench --locked --bench figures

# A static binary, since the image holds nothing else; --target keeps the flag away from build scripts.
image: prerequisites ## Build the container image (IMAGE=name:tag, CONTAINER=docker|podman|buildah)
	target=$$(rustc -vV | sed -n 's/^host: //p'); \
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin platform-token-operator --target "$$target"; \
	install -D -m 755 "$${CARGO_TARGET_DIR:-target}/$$target/release/platform-token-operator" target/image/platform-token-operator
	install -m 644 /etc/ssl/certs/ca-certificates.crt target/image/
	@container='$(CONTAINER)'; [[ -n $$container ]] || { echo 'none of docker, podman, buildah works here' >&2; exit 1; }; \
	$$container build -f deploy/Dockerfile -t '$(IMAGE)' target/image

crds: ## Write crds/ anew from the Rust types
	cargo run -q --locked -- crd --dir crds

fmt: ## Format Rust and Go
	cargo fmt
	gofmt -w tests/cluster

clean: ## Remove what cargo built (the caches of the control plane and tools stay)
	cargo clean

prerequisites:
	@hack/prerequisites
