#!/usr/bin/env bash
# Build the ROS 2 package of this checkout with colcon into .ros_ws/{build,install,log}.
#
#     VENV=.venv scripts/build_ros.sh
#
# With a sourced ROS 2 installation this is a plain `colcon build --symlink-install`. Without one,
# ROS comes from the pip wheels in the virtual environment, and two things have to be put right:
#
# - The wheels are laid out as one ament prefix, but have no setup.bash to source (and their
#   local_setup.bash files point at the machine that built them), so AMENT_PREFIX_PATH and
#   CMAKE_PREFIX_PATH are set to the virtual environment directly (ros_env.sh does the first).
# - Their exported CMake targets hold include folders of the machine that built them
#   (/opt/python/cp3XX-cp3XX/...): rewritten here, in place, to the headers of this Python and this
#   numpy. Doing it again changes nothing.
#
# Nothing is done when nothing has changed that colcon would see: package.xml, CMakeLists.txt, msg/,
# srv/ by content; what is only linked (--symlink-install) by name.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$repo"
workspace="${ROS_WS:-$repo/.ros_ws}"
mkdir -p "$workspace"
workspace="$(cd "$workspace" && pwd)"
venv="${VENV:-$repo/.venv}"
[[ -d "$venv" ]] && venv="$(cd "$venv" && pwd)"
if [[ ":${AMENT_PREFIX_PATH:-}:" == *":$venv:"* ]]; then
    unset AMENT_PREFIX_PATH  # we are inside ros_env.sh: the ROS on the paths is the wheels
fi

surroundings() {
    echo "$repo" "$venv" "${AMENT_PREFIX_PATH:-wheels}"
    "$venv/bin/python" --version 2>/dev/null || python3 --version
}

state() {
    surroundings
    ls -d "$venv"/.installed-* 2>/dev/null || true  # make's stamp: which requirements are in there
    sha256sum package.xml CMakeLists.txt msg/* srv/* scripts/build_ros.sh
    find lift_gs_ros config launch scripts -type f -not -path '*/__pycache__/*' | LC_ALL=C sort
}

rewrite_build_machine_paths() {
    local python_include numpy_include
    python_include="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
    numpy_include="$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')"
    if [[ ! -f "$python_include/Python.h" ]]; then
        echo "Python.h is not in $python_include: install this Python's headers" \
            "(Debian, Ubuntu: apt-get install python3-dev)." >&2
        exit 1
    fi
    { grep -rlE --include='*.cmake' '/opt/python/cp3' "$venv"/share/*/cmake || true; } |
        xargs -r sed -i -E \
            -e "s#/opt/python/cp3[^/]*/lib/python3[^/]*/site-packages/numpy/(_core|core)/include#$numpy_include#g" \
            -e "s#/opt/python/cp3[^/]*/include/python3[.0-9]*#$python_include#g"
}

exec 9> "$workspace/.lock"
flock 9  # two makes at once: the second waits, and then finds nothing to do

wanted="$(state | sha256sum)"
if [[ -d "$workspace/install/lift_gs_ros" && "$(cat "$workspace/.built" 2>/dev/null)" == "$wanted" ]]; then
    exit 0
fi
rm -f "$workspace/.built"
if [[ "$(surroundings)" != "$(cat "$workspace/.surroundings" 2>/dev/null)" ]]; then
    # CMake's cache holds the paths of the Python and the ROS it first saw.
    rm -rf "$workspace/build" "$workspace/install"
    surroundings > "$workspace/.surroundings"
fi

arguments=(
    --paths "$repo" --symlink-install
    --build-base "$workspace/build" --install-base "$workspace/install"
    --event-handlers console_cohesion-
)
log="$workspace/log"
if [[ -n "${AMENT_PREFIX_PATH:-}" ]]; then
    colcon --log-base "$log" build "${arguments[@]}"
else
    rewrite_build_machine_paths
    CMAKE_PREFIX_PATH="$venv" VENV="$venv" ROS_WS="$workspace" scripts/ros_env.sh \
        colcon --log-level error --log-base "$log" build "${arguments[@]}" \
        --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python" --no-warn-unused-cli
fi
echo "$wanted" > "$workspace/.built"
