"""The example files that start a training on several machines, with two machines that are one."""

import csv
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_shards import save
from training_rooms import two_boxes

from lift_gs_ros.model.checkpoint import read_metadata
from training.config import load_settings
from training.data.storage import Storage
from training.pretrain import PretrainSettings

REPOSITORY = Path(__file__).parents[1]
LAUNCH = REPOSITORY / 'training/launch'
# In the place of SLURM's: as many tasks as were asked for, each with the variables that SLURM sets.
SRUN = """#!/usr/bin/env bash
[[ "$1" == --kill-on-bad-exit=1 ]] || exit 2
shift
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_NODEID=$rank SLURM_LOCALID=0 "$@" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
"""


@pytest.fixture
def arguments(tmp_path):
    for number in range(3):
        save(Storage(tmp_path / 'shards'), f'boxes-{number:04d}', two_boxes(number))
    return [
        'config/train/tiny.yaml', f'rooms={tmp_path / "shards"}', f'output={tmp_path / "run"}',
        'accelerator=cpu', 'steps=1', 'warmup=1', 'log_every=1', 'backend=torch', 'buffer=1',
        'sample.min_points=10',
    ]  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    python = Path(sys.executable).parent
    (tmp_path / 'bin').mkdir()
    path = f'{tmp_path / "bin"}:{python}:{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1'}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('localhost', 0))
        return found.getsockname()[1]


def _check(run: Path) -> None:
    assert read_metadata(run / 'model.safetensors')[1]['samples'] == 2  # one of each machine
    with open(run / 'log.csv', newline='') as file:
        (row,) = csv.DictReader(file)
    assert np.isfinite(float(row['loss']))


def test_torchrun_trains_on_two_machines(arguments, environment, tmp_path):
    head = f'localhost:{_free_port()}'
    environment |= {'NODES': '2', 'GPUS': '1', 'HEAD': head, 'RETRIES': '0'}
    machines = [
        subprocess.Popen(
            [LAUNCH / 'torchrun.sh', *arguments], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip
    outputs = [machine.communicate()[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    _check(tmp_path / 'run')


# Makes writing a state slower than an interpreter ends.
SLOW_DISK = """import os, time
fsync = os.fsync
os.fsync = lambda file: time.sleep(10) or fsync(file)
"""


@pytest.mark.slow
def test_no_process_ends_before_the_checkpoint_is_written_when_a_run_is_stopped(
    arguments, environment, tmp_path
):
    # srun --kill-on-bad-exit and Fabric kill all processes when one has ended with a failure.
    (tmp_path / 'bin/sitecustomize.py').write_text(SLOW_DISK)
    environment |= {
        'PYTHONPATH': str(tmp_path / 'bin'), 'TORCHELASTIC_RUN_ID': 'test', 'WORLD_SIZE': '2',
        'LOCAL_WORLD_SIZE': '1', 'LOCAL_RANK': '0', 'MASTER_ADDR': 'localhost',
        'MASTER_PORT': str(_free_port()),
    }  # fmt: skip
    command = [sys.executable, '-m', 'training.pretrain', *arguments, 'nodes=2', 'steps=100000']
    processes = [
        subprocess.Popen(
            command, env={**environment, 'RANK': rank, 'GROUP_RANK': rank}, cwd=REPOSITORY,
            stderr=subprocess.PIPE, text=True,
        )
        for rank in '01'
    ]  # fmt: skip
    log = tmp_path / 'run/log.csv'
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert processes[0].poll() is None, processes[0].stderr.read()
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    error = processes[1].communicate()[1]
    assert processes[1].returncode == 130, error
    assert read_metadata(tmp_path / 'run/model.safetensors')[1]['steps'] > 0
    processes[0].communicate()
    assert processes[0].returncode == 130


@pytest.mark.slow
def test_slurm_trains_on_two_machines(arguments, environment, tmp_path):
    srun = tmp_path / 'bin/srun'
    srun.write_text(SRUN)
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    environment |= {
        'SLURM_SUBMIT_DIR': str(REPOSITORY), 'SLURM_JOB_NUM_NODES': '2', 'SLURM_NTASKS': '2',
        'SLURM_NTASKS_PER_NODE': '1', 'SLURM_NODELIST': 'localhost', 'SLURM_JOB_ID': '7',
        'SLURM_JOB_NAME': 'lift_gs_ros', 'MASTER_ADDR': 'localhost',
        'MASTER_PORT': str(_free_port()),
    }  # fmt: skip
    command = ['bash', LAUNCH / 'slurm.sh', *arguments]
    found = subprocess.run(command, env=environment, cwd='/', capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-3000:]
    _check(tmp_path / 'run')


def test_the_settings_of_the_paper_are_those_of_its_appendix():
    settings = load_settings(PretrainSettings, REPOSITORY / 'config/train/paper.yaml')
    assert settings.nodes * settings.devices * settings.batch_size == 32
    assert (settings.steps, settings.learning_rate, settings.weight_decay) == (76_000, 1e-4, 1e-4)
    sample, loss = settings.sample, settings.loss
    assert (sample.queries, sample.max_instances, sample.views) == ('embeddings', 8, 1)
    assert (loss.photometric, loss.feature) == (1.0, 0.1)
    weights = loss.grounding
    assert (weights.mask, weights.dice, weights.correspondence) == (15.0, 6.0, 2.0)
