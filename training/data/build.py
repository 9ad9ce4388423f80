"""Build the files of a cache in several processes; those that are there already are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from tqdm import tqdm


def build_files(build: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int) -> None:
    """Call ``build(*job)`` for each job; its first item is the path that it writes.

    The first error ends it, with the jobs under way.
    """
    for folder in {job[0].parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not job[0].exists()]
    if kept := len(jobs) - len(missing):
        print(f'{kept} of {len(jobs)} files are there already and kept as they are')
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(build, *job) for job in missing]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc='rooms'):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or all others would be built before it is told
            raise
