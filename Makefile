# Everything runs in .venv, which is made on first use from pyproject.toml at the versions of requirements.txt.
PYTHON ?= python3
EXTRAS ?= dev
RUN := .venv/bin/python
PARTS := $(filter limits growth presets scans,$(MAKECMDGOALS))

.PHONY: demo test lint format bench limits growth presets scans setup

demo: setup  ## phantom -> train -> predict -> score -> pictures
	$(RUN) -m acdc_segmenter_tf.train --dataset phantom --preset quick --set steps=800
	@echo
	@echo "That was a phantom and a short training: outlines may be torn. Dice in the table is that of whole hearts; val_dice, while it trained, is that of"
	@echo "single slices, where a structure that is not there counts as 0, and therefore lower."
	@echo "Open the report in a browser: every slice, with outlines to switch on and off. Next, on the 100 patients of ACDC (about 25 minutes on two"
	@echo "cores), and then your own scan with what it learned there:"
	@echo "  $(RUN) -m acdc_segmenter_tf.train --dataset acdc --data-root DIR --preset quick"
	@echo "  $(RUN) -m acdc_segmenter_tf.predict --weights runs/acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc/fold0 SCAN.nii.gz -o seg.nii.gz"

test: setup  ## the test suite
	$(RUN) -m pytest -n 2 --dist loadfile
	@echo "All tests passed. Next: make demo"

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: setup
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: .venv/installed-dev,bench  ## medians and ratios against plain TensorFlow and MedPy; or only the parts named behind it
	$(RUN) -m benchmarks.bench $(if $(CARDIAC_DATA),--data-root $(CARDIAC_DATA)/acdc) $(PARTS)

limits growth presets scans:  ## parts of bench: how near to the machine's limits, what growth costs, how long presets take, thousands of scans
	@test -n "$(filter bench,$(MAKECMDGOALS))" || $(MAKE) bench $@

setup: .venv/installed-$(EXTRAS)

.venv/installed-%: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@test -x $(RUN) || $(PYTHON) -m venv .venv || { echo "Debian and Ubuntu keep venv apart: apt install python3-venv"; rm -rf .venv; exit 1; }
	@echo "installing into .venv, once: about 1 GB to download, 3 GB on disk, a few minutes"
	$(RUN) -m pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[$*]'
	@touch $@
