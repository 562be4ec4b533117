# Everything is done by `cargo xtask`; these are its short names.
.DEFAULT_GOAL := help
.PHONY: help build run test test-examples bench soak fuzz check gen

# Built dependencies outlive a checkout.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/plexspaces/target

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## Build the node
	cargo build --release --workspace --bin plexspaces

run: ## Start a node with the bank account example
	cargo xtask run

test: ## Run all checks and tests
	cargo xtask test

test-examples: ## Run the tests of the examples, without and with a node
	python3 -m pytest -q examples/python
	cargo test --workspace --test examples --test sharing --test example_scripts

bench: ## Run the benchmarks
	cargo xtask bench

soak: ## Let actors live and end for five minutes and look what is left
	cargo xtask soak

fuzz: ## Let libFuzzer try every decoder for a minute each
	cargo xtask fuzz

check: ## Run the checks without the tests
	cargo xtask check

gen: ## Generate what is made from proto/ and wit/
	cargo xtask gen
