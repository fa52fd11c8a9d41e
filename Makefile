# The newcomer's commands: `make run` shows the engine on a real database, `make test` tests it on real servers.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SOURCES := $(shell find engine -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
WORKERS ?= 2
CODE    := engine tests bench demo examples setup.py

.PHONY: build run test fuzz fuzz-decoder chaos chaos-ha model bounds kills bench attack lint clean

build: $(VENV)/.built

$(VENV)/.built: pyproject.toml setup.py $(SOURCES)
	@tools/prepare_python.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'setting up $(VENV): dependencies, then the extensions; a minute or two, once'
	@$(BIN)/python -m pip install -q --upgrade setuptools cython numpy
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --no-build-isolation -e '.[dev,arrow,bench]'
	@$(BIN)/python -m compileall -q engine tests bench demo  # for where PYTHONDONTWRITEBYTECODE is set: processes are many
	@touch $@

# make run [SECONDS=20] [RATE=200] [URL=mysql://user:password@host:3306]
run: build
	@$(BIN)/python -m demo.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE)) $(if $(URL),--url '$(URL)')

# Where a server can't be had (status 3) its tests are skipped, and counted as such; otherwise all must run.
test: build
	@$(BIN)/python -m tests.decoder_fuzz.sanitized
	@$(BIN)/python -m tests.servers.install mariadb-next || true  # without it, its tests are skipped
	@$(BIN)/python -m tests.servers.install mariadb mysql zookeeper; status=$$?; \
	case $$status in 0) require=1;; 3) require=0;; *) exit $$status;; esac; \
	BINLOG_ENGINE_REQUIRE_SERVERS=$$require $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# make fuzz [SECONDS=60] [SEED=1]: random schemas, values and transactions on real servers, for so long
fuzz: build
	@$(BIN)/python -m tests.fidelity.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

# make fuzz-decoder [EVENTS=100000] [SEED=1]: damaged binlogs through a decoder under AddressSanitizer and UBSan
fuzz-decoder: build
	@$(BIN)/python -m tests.decoder_fuzz $(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED))

# make chaos [SECONDS=60] [FAULTS=200] [SEED=1]: real servers and a whole engine under random faults: so many, and for so long
chaos: build
	@$(BIN)/python -m tests.chaos.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

# make bounds: a row of 100 MB and a transaction of 5 million rows through rings of 1 MiB, on both servers; some minutes
bounds: build
	@$(BIN)/python -m tests.servers.install mariadb mysql
	BOUNDS_BLOB_BYTES=100000000 BOUNDS_ROWS=5000000 $(BIN)/python -m pytest -s tests/test_bounds.py --timeout 900

# make kills [KILLS=100] [SEED=1]: every kind of process killed so often under load
kills: build
	@$(BIN)/python -m tests.servers.install mariadb
	KILLS=$(or $(KILLS),100) $(if $(SEED),KILL_SEED=$(SEED)) $(BIN)/python -m pytest -s tests/test_kills.py

# make chaos-ha [SECONDS=60] [FAULTS=100] [SEED=1]: engines, ZooKeeper nodes, database pairs and consumers under random faults
chaos-ha: build
	@$(BIN)/python -m tests.servers.install mariadb mysql zookeeper
	@$(BIN)/python -m tests.ha.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

# make model: the model of the lease, searched through by spin; and that it fails without each of its safeguards
model:
	@docs/model/check.sh

# make bench [SCALE=0.5]: the suites, saved and compared with the last time; then every measurement on real servers, as tables
bench: build
	@$(BIN)/python -m tests.servers.install mariadb mysql || test $$? -eq 3
	$(BIN)/python -m pytest bench --benchmark-enable --benchmark-columns=min,median,rounds -q \
		--benchmark-autosave $(if $(wildcard .benchmarks/*/*.json),--benchmark-compare) $(ARGS)
	$(BIN)/python -m bench.table $(if $(SCALE),--scale $(SCALE))

# make attack [SECONDS=5]: what a good consumer keeps of its rate while thousands of hostile connections are on its port
attack: build
	@$(BIN)/python -m bench.attack $(if $(SECONDS),--seconds $(SECONDS))

lint: build
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint engine  # it calls pycodestyle by name
	$(BIN)/mypy engine

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks $(VENV)/.built
	find engine \( -name '*.so' -o -name '*.c' -o -name '*.html' \) -delete
	find . -path ./$(VENV) -prune -o -name __pycache__ -prune -exec rm -rf {} +
