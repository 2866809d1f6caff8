# Everything sets itself up in .venv from constraints.txt; a second run starts at once.
PYTHON ?= python3.11
VENV := .venv
BENCH := .bench
# A stamp carries the digest of what an environment was made from, so that it is remade when that changes.
DIGEST := $(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
RUN := $(VENV)/ready-run-$(DIGEST)
DEV := $(VENV)/ready-dev-$(DIGEST)
COMPARE := $(BENCH)/ready-$(DIGEST)
INSTALL := -m pip install -qq --disable-pip-version-check -c constraints.txt
ARGS ?=
# As many at once as there are cores, but no more than 8, each of which may take a gigabyte.
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 8 ? cores : 8)))
DATA ?= ../shared/data
STUDIES ?= oncology ct_noise
AUTOATTACK ?= git+https://github.com/fra31/auto-attack

unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
.PHONY: help demo test slow coverage check study bench pictures clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    the whole job on SYNTHETIC nodules; ARGS='--data FOLDER' for your own images"
	@echo "make test    the tests;  make slow  whole studies, kills and simulations, minutes each"
	@echo "make coverage  how often the 95 % intervals hold the truth, simulated; two minutes"
	@echo "make check   ruff, mypy and the ceilings;  make bench  against other libraries"
	@echo "make study   both papers' studies, whole; DATA=FOLDER holds the data sets; over an hour; STUDIES=ct_noise one"
	@echo "make pictures  the README's pictures anew, of a demo; three minutes"
	@echo "make clean   remove the environments and caches (never runs/)"

demo: $(RUN)
	@$(VENV)/bin/steadyread demo $(ARGS)

test: $(DEV)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile $(ARGS)

slow: $(DEV)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m slow -n $(JOBS) --dist loadgroup --durations=25 $(ARGS)

coverage: $(DEV)
	@$(VENV)/bin/python -m pytest -q -s tests/test_coverage.py $(ARGS)

check: $(DEV)
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m mypy
	@$(VENV)/bin/python -m pytest -q tests/test_house.py

study: $(DEV)
	@for name in $(STUDIES); do $(VENV)/bin/steadyread run studies/$$name.toml --data-root $(DATA) $(ARGS) || exit; done

bench: $(COMPARE)
	@$(BENCH)/bin/python -m benchmarks --data-root $(DATA) $(ARGS)

pictures: $(DEV)
	@$(VENV)/bin/steadyread demo --out runs/pictures $(ARGS)
	@$(VENV)/bin/python tests/pictures.py runs/pictures=answer

clean:
	rm -rf $(VENV) $(BENCH) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN):
	@echo "setting up $(VENV) (once; a few minutes)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(INSTALL) -e .
	@rm -f $(VENV)/ready-* && touch $@

$(DEV):
	@echo "setting up $(VENV) (once; a few minutes)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(INSTALL) -e '.[dev,compare]'
	@rm -f $(VENV)/ready-* && touch $(RUN) $@

# torchattacks and HEART ask for an old stack, adv-lib and secml-torch for torchvision; without their dependencies they
# run on ours. auto-attack is on no registry; AUTOATTACK may name a checkout of it.
$(COMPARE):
	@echo "setting up $(BENCH) (once; a few minutes)" >&2
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python $(INSTALL) -e '.[compare,medical]'
	@$(BENCH)/bin/python $(INSTALL) --no-deps torchattacks adv-lib secml-torch multiprocess dill heart-library maite
	@GIT_TERMINAL_PROMPT=0 $(BENCH)/bin/python $(INSTALL) --no-deps $(AUTOATTACK) >/dev/null 2>&1 \
		|| echo "auto-attack: not installed, its rows will say so (tried $(AUTOATTACK))" >&2
	@rm -f $(BENCH)/ready-* && touch $@
