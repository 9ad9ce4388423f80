#!/usr/bin/env bash
# Pretraining on the GPUs of one or several machines by torchrun. On each machine, the same line:
#   NODES=4 GPUS=8 HEAD=first-machine:29500 training/launch/torchrun.sh config/train/paper.yaml rooms=...
# Paths are relative to the repository; recordings and output must be where all machines see them.
# Killed anywhere, the same line goes on from the last checkpoint; a failure is tried again by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${NODES:=1}" "${GPUS:=8}" "${HEAD:=localhost:29500}" "${RETRIES:=3}"
exec python -m torch.distributed.run --nnodes "$NODES" --nproc-per-node "$GPUS" \
    --rdzv-backend c10d --rdzv-endpoint "$HEAD" --rdzv-id lift_gs_ros --max-restarts "$RETRIES" \
    -m training.pretrain "$@" nodes="$NODES" devices="$GPUS"
