# Every target makes its own environment, .venv, where that is missing or out of date.
#   make demo           minutes, offline: a catalogue, figures and a report in results/demo
#   make test           everything that this machine allows
#   make fuzz           damaged files of all kinds: nothing may be silently wrong, lost, a crash or a hang
#   make drill          faults: flipped bits, lost and replaced files, kills, a full disk
#   make bench          ours and the published way side by side
#   make release        train the released models again (about an hour on 2 loaded cores); writes models/
#   make slurm-profile  once on a cluster; then: snakemake --profile slurm lamost_mrs
#   make slurm-test     a real one-node SLURM on this machine (root, apt: slurm-wlm munge)
#   make docs           pages of the package and of the rules from their docstrings, in docs/build
#   make lint           ruff, mypy, snakefmt, snakemake --lint

SHELL := /bin/bash
PYTHON ?= python3
CORES ?= all
CONSTRAINTS ?= envs/constraints.txt
READY := .venv/.ready
QUIRK := workflow/src/dioscuri/torchvision_quirk.py
SNAKEMAKE_CONFIG := $(or $(XDG_CONFIG_HOME),$(HOME)/.config)/snakemake
DEMO := snakemake --configfile config/demo.yaml --profile profiles/local --cores $(CORES)
QUIETLY := python workflow/quietly.py
TIMES := .pytest_cache/times
BESIDE := tests/unit tests/real tests/dag tests/fuzz tests/drill tests/workflow/test_own_grids.py # the demo has all cores
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help demo test fuzz drill docs bench release lint slurm-test slurm-profile

help:
	@sed -n '2,11s/^# *//p' Makefile

# A looser request than torch==… may fetch another torch with gigabytes of CUDA libraries. The copy of QUIRK serves
# `import timm` and `import pytorch_lightning` in this environment, whichever checkout they are called from.
$(READY): pyproject.toml $(CONSTRAINTS) $(QUIRK)
	$(PYTHON) -m venv .venv
	pip install --quiet "$$(grep '^torch==' $(CONSTRAINTS))" -e '.[dev]' -c $(CONSTRAINTS)
	site=$$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && cp $(QUIRK) $$site && \
	echo 'import torchvision_quirk; torchvision_quirk.watch_imports()' > $$site/torchvision_quirk.pth
	touch $@

# What Snakemake says goes to a log; what was found is told at the end, even where something failed.
demo: $(READY)
	@status=0; $(QUIETLY) results/demo/run.log -- $(DEMO) --quiet host -- demo || status=$$?; \
	if [ $$status -eq 0 ]; then $(DEMO) --quiet all --report results/demo/report.zip -- demo > results/demo/report.log 2>&1 || status=$$?; fi; \
	echo; dioscuri summary results/demo; \
	[ ! -f results/demo/report.zip ] || echo "report: results/demo/report.zip (unpack it and open report.html)"; \
	exit $$status

test: $(READY)
	mkdir -p $(TIMES)
# SLURM spends most of its time waiting, and the lint has one core: they run beside the unit tests, and what they say is
# shown when all have ended. Threads of BLAS that wait for a core that is taken cost up to twenty times what they save.
	$(MAKE) --no-print-directory lint > $(TIMES)/lint.log 2>&1 & lint=$$!; \
	pytest --junitxml $(TIMES)/slurm.xml tests/slurm > $(TIMES)/slurm.log 2>&1 & slurm=$$!; \
	export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; \
	pytest -n 2 --dist loadfile --junitxml $(TIMES)/unit.xml $(BESIDE); failed=$$?; \
	wait $$lint || failed=1; cat $(TIMES)/lint.log; wait $$slurm || failed=1; cat $(TIMES)/slurm.log; exit $$failed
	pytest --junitxml $(TIMES)/workflow.xml tests/workflow/test_demo*.py
	@python .ci/budget.py

fuzz: $(READY)
	python tests/fuzz/runner.py --number 2800 --seed 1

drill: $(READY)
	python tests/drill/drill.py
	python tests/drill/runs.py

bench: $(READY)
	snakemake --profile profiles/local --cores 1 bench
	@column -s, -t results/paper/bench/benchmarks.csv
	pytest -m bench tests/unit

release: $(READY)
	snakemake --configfile config/release.yaml --profile profiles/local --cores $(CORES) release

docs: $(READY)
	python docs/build.py

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --line-length 110 --check Snakefile workflow/rules
	snakemake --lint

slurm-test: $(READY)
	DIOSCURI_SLURM_TEST=1 pytest -rA tests/slurm

slurm-profile: $(READY)
	mkdir -p "$(SNAKEMAKE_CONFIG)"
	ln -sfn "$(CURDIR)/profiles/slurm" "$(SNAKEMAKE_CONFIG)/slurm"
	@echo "What is your site's own (account, partition, GPUs) goes into profiles/slurm/config.yaml. Then:"
	@echo "  source .venv/bin/activate && snakemake --profile slurm lamost_mrs"
