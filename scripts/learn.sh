#!/usr/bin/env bash
# From recordings to better weights, as docs/pseudo_labels.md tells it; `make learn` runs this:
#
#     SEQUENCE='walk kitchen=scans/42' MASKS=sam2:weights/sam2 CAPTIONS=clip:weights/clip \
#         scripts/ros_env.sh scripts/learn.sh [FLAG of training.pseudolabel ...]
#
# Settings, besides these: OUT (runs/learn), TOPICS ("--rgb /front/image ...", where a bag's topics
# have to be named), PRETRAIN ("steps=500 ..."), EVALUATE ("--rooms 10 ..."). Lists are split at
# blanks. What is done is not done again: the same command goes on after a stop.
set -euo pipefail
: "${SEQUENCE:?the recordings: bags or folders}" "${MASKS:?see docs/pseudo_labels.md}"
out="${OUT:-runs/learn}"

# No teacher repairs wrong poses, and no training wrong labels: a recording in which something is
# WRONG, or of which nothing can be read, is left out. What is "unsure" is not.
usable=() left_out=()
for recording in $SEQUENCE; do
    path="$recording" name="$(basename "$recording")"
    if [[ "$recording" =~ ^([A-Za-z0-9_-]+)=(.+)$ ]]; then  # NAME=PATH
        name="${BASH_REMATCH[1]}" path="${BASH_REMATCH[2]}"
    fi
    if [[ "$path" == simulated:* ]]; then
        usable+=("$recording")  # not a file; right by construction
        continue
    fi
    status=0
    # shellcheck disable=SC2086  # TOPICS is several flags
    python -m lift_gs_ros.cli sequences check "$path" --out "$out/check/$name" ${TOPICS:-} ||
        status=$?
    case "$status" in
        0) usable+=("$recording") ;;
        1 | 2)
            echo "learn: $recording is left out, for the reason above" >&2
            left_out+=("$recording")
            ;;
        *) exit "$status" ;;
    esac
done
if [[ ${#usable[@]} -eq 0 ]]; then
    echo "learn: no recording is usable: mend them (docs/your_robot.md says how), or name others in" \
        "SEQUENCE" >&2
    exit 1
fi

# It goes on with what there is (3) where a recording turns out bad.
status=0
# shellcheck disable=SC2086
python -m training.pseudolabel "${usable[@]}" --out "$out/labels" --masks "$MASKS" \
    ${CAPTIONS:+--captions "$CAPTIONS"} ${TOPICS:-} "$@" || status=$?
[[ "$status" -eq 0 || "$status" -eq 3 ]] || exit "$status"

# shellcheck disable=SC2086
python -m training.pretrain config/train/sequence.yaml rooms="$out/labels" output="$out/run" \
    ${PRETRAIN:-}
# shellcheck disable=SC2086
python -m training.evaluate --checkpoint "$out/run/model.safetensors" --out "$out/evaluate.json" \
    ${EVALUATE:-}
[[ ${#left_out[@]} -eq 0 ]] || echo "learn: without ${left_out[*]}, see $out/check" >&2
echo "learn: wrote $out/run/model.safetensors; the node's parameter \"checkpoint\" takes it"
