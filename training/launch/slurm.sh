#!/usr/bin/env bash
# Pretraining on a SLURM cluster, from the repository, in its virtual environment:
#   sbatch training/launch/slurm.sh config/train/paper.yaml rooms=... output=...
# Submit the line as often as the run needs the time limit: jobs of one name come after each other, and
# each goes on from the checkpoint of the one before. Three minutes before its time is up, a job is told
# to write one. Change the numbers here to those of your cluster; --nodes=2 before the script also does.
#SBATCH --job-name=lift_gs_ros
#SBATCH --dependency=singleton
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=10
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this with sbatch, from the repository}"
# One process for each GPU; where one fails, the others would wait for it forever.
srun --kill-on-bad-exit=1 python -m training.pretrain "$@" \
    nodes="$SLURM_JOB_NUM_NODES" devices="$SLURM_NTASKS_PER_NODE"
