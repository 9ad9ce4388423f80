#!/usr/bin/env bash
# Create the virtual environment VENV with PYTHON, or bring it up to date, from the requirements
# files given as arguments.
#
#     VENV=.venv PYTHON=python3 scripts/make_venv.sh requirements.txt requirements-dev.txt
set -euo pipefail

venv="${VENV:-.venv}"
python="${PYTHON:-python3}"

missing="$(PYTHON="$python" "$(dirname "${BASH_SOURCE[0]}")/missing_system_packages.sh")"
if [[ -n "$missing" ]]; then
    echo "System packages are missing. On Debian or Ubuntu:" >&2
    echo "    sudo apt-get install -y --no-install-recommends $missing" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'; then
    echo "$python is $("$python" --version), but Python 3.10 to 3.13 is needed:" \
        "make PYTHON=python3.12 ..." >&2
    exit 1
fi

[[ -x "$venv/bin/python" ]] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25'
echo "Installing into $venv (a few minutes the first time, 8 GB with CUDA) ..."
requirements=()
for file in "$@"; do requirements+=(-r "$file"); done
"$venv/bin/python" -m pip install --quiet "${requirements[@]}"
