"""The same work in this process, in a process for each GPU, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

Work = Callable[[dict[str, str]], dict[str, str]]
MakeWork = Callable[[str], Work]  # from the device
REPOSITORY = Path(__file__).parents[2]

_work: Work | None = None  # of a worker process


def local_devices(workers: int) -> list[str]:
    """Devices of the workers: every GPU, or else the CPU; 0 workers means one for each GPU."""
    gpus = torch.cuda.device_count()
    count = workers or max(gpus, 1)
    return [f'cuda:{i % gpus}' if gpus else 'cpu' for i in range(count)]


def in_processes(
    make: MakeWork, items: Sequence[dict[str, str]], devices: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Yield what becomes of each item; a single worker needs no other process.

    Raises RuntimeError where a worker process is killed.
    """
    if len(devices) == 1 or len(items) < 2:
        work = make(devices[0])
        yield from map(work, items)
        return
    context = multiprocessing.get_context('spawn')  # CUDA does not survive a fork
    queue = context.SimpleQueue()
    for device in devices:
        queue.put(device)
    pool = ProcessPoolExecutor(len(devices), context, _begin, (make, queue))
    try:
        yield from pool.map(_call, items)
    except BrokenProcessPool as error:
        raise RuntimeError(
            'a worker process ended before its work did, most often because memory ran out: run '
            'the same command again, with fewer --workers; what is done is kept'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(make: MakeWork, devices: Any) -> None:
    global _work
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 4))
    _work = make(devices.get())


def _call(item: dict[str, str]) -> dict[str, str]:
    assert _work is not None
    return _work(item)


def _end_with_parent() -> None:
    """Let no worker outlive a job that was killed: it would hold its GPU for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _RayWork:
    def __init__(self, make: MakeWork, device: str) -> None:
        self._work = make(device)

    def __call__(self, item: dict[str, str]) -> dict[str, str]:
        return self._work(item)


def on_ray(
    make: MakeWork, items: Sequence[dict[str, str]], workers: int, gpus: bool
) -> Iterator[dict[str, str]]:
    """Yield what becomes of each item on the cluster that ``connect`` has joined.

    Raises RuntimeError where Ray cannot go on.
    """
    import ray.data

    count = max(1, min(workers, len(items)))
    blocks = min(len(items), max(2 * count, len(items) // 4))
    data = ray.data.from_items(list(items), override_num_blocks=blocks).map(
        _RayWork,
        fn_constructor_args=(make, 'cuda' if gpus else 'cpu'),
        compute=ray.data.ActorPoolStrategy(size=count),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    try:
        yield from data.iter_rows()
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]  # a remote traceback
        raise RuntimeError(f'the work on Ray has failed: {reason[-1]}') from error


def connect(address: str, workers: int) -> tuple[int, bool]:
    """Join a Ray cluster, or start one here (``local``).

    Returns the number of workers (0 asks for one for each GPU, or else CPU), and whether there are
    GPUs. Raises ImportError with what to install, and RuntimeError where there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError('--ray needs Ray Data: pip install "ray[data]"') from error
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get('PYTHONPATH')])])
    options: dict[str, Any] = {'runtime_env': {'env_vars': {'PYTHONPATH': path}}}
    if address == 'local':
        options |= {'address': 'local', 'include_dashboard': False}
        if workers and not torch.cuda.is_available():
            options['num_cpus'] = workers
    else:
        options['address'] = address
    try:
        ray.init(log_to_driver=False, **options)
    except Exception as error:  # a plain one where it does not start in time
        raise RuntimeError(f'there is no Ray cluster at {address!r}: {error}') from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    resources = ray.cluster_resources()
    gpus = int(resources.get('GPU', 0))
    return workers or gpus or int(resources.get('CPU', 1)), gpus > 0
