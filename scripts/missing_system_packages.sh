#!/usr/bin/env bash
# Print, on one line, the Debian and Ubuntu packages that `make venv` and `make build` want and this
# machine lacks; nothing when all is there. PYTHON (default python3) is the interpreter to be used.
set -euo pipefail

python="${PYTHON:-python3}"
libraries="$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p)"
missing=()

need_library() {  # SONAME PACKAGE
    grep -q "^[[:space:]]*$1 " <<< "$libraries" || missing+=("$2")
}

# Open3D
need_library libEGL.so.1 libegl1
need_library libGL.so.1 libgl1
need_library libX11.so.6 libx11-6
need_library libgomp.so.1 libgomp1
need_library libusb-1.0.so.0 libusb-1.0-0

# The generated messages are C and C++.
command -v g++ > /dev/null || missing+=(g++)
command -v make > /dev/null || missing+=(make)

# Debian splits these off its own Python.
if ! command -v "$python" > /dev/null; then
    missing+=(python3 python3-venv python3-dev)
else
    "$python" -c 'import ensurepip, venv' 2> /dev/null || missing+=(python3-venv)
    header="$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"
    [[ -f "$header" ]] || missing+=(python3-dev)
fi

echo "${missing[*]-}"
