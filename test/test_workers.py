"""Workers of a labelling job: which device each has, and that all of them work."""

import time
from functools import partial
from pathlib import Path

import pytest
import torch

from training.labelling.workers import in_processes, local_devices


@pytest.mark.parametrize(
    ('gpus', 'workers', 'devices'),
    [
        (0, 0, ['cpu']),
        (0, 2, ['cpu', 'cpu']),
        (3, 0, ['cuda:0', 'cuda:1', 'cuda:2']),
        (3, 2, ['cuda:0', 'cuda:1']),
        (2, 5, ['cuda:0', 'cuda:1', 'cuda:0', 'cuda:1', 'cuda:0']),
    ],
)
def test_workers_are_shared_among_the_gpus(gpus, workers, devices, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    assert local_devices(workers) == devices


class Meeting:
    """Work that ends when a worker of each device has begun: one alone would wait in vain."""

    def __init__(self, folder, devices, device):
        self._folder, self._devices, self._device = Path(folder), devices, device

    def __call__(self, item):
        (self._folder / self._device).touch()
        deadline = time.monotonic() + 500
        while not all((self._folder / device).exists() for device in self._devices):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return {**item, 'device': self._device}


@pytest.mark.timeout(600)
def test_each_gpu_has_a_process_of_its_own_and_answers_come_in_order(tmp_path):
    devices = ['cuda:0', 'cuda:1']
    items = [{'view': f'{number}'} for number in range(4)]
    results = list(in_processes(partial(Meeting, str(tmp_path), devices), items, devices))
    assert [result['view'] for result in results] == ['0', '1', '2', '3']
    assert {result['device'] for result in results} <= set(devices)
    assert {path.name for path in tmp_path.iterdir()} == set(devices)
