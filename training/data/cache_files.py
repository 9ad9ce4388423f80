"""What the two caches of training data have in common: npz files that were written by us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def read_arrays(
    path: Path, what: str, holds: set[str], version: int, module: str
) -> dict[str, Any]:
    """Read an npz file that must hold some arrays and be of a version; ``module`` makes it anew.

    Raises ValueError where the file is damaged, is something else or of another version.
    """
    redo = f'delete it and build it again with python -m {module}'  # what is there is kept
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib, struct, numpy: each has its own
        raise ValueError(f'{path} is no {what} or is damaged ({error}): {redo}') from error
    if not holds <= data.keys():
        raise ValueError(f'{path} is no {what}, it holds {sorted(data)}')
    if int(data.get('version', -1)) != version:
        raise ValueError(f'{path} has version {data.get("version")}, expected {version}: {redo}')
    return data


def write_arrays(path: str | Path, **arrays: Any) -> None:
    """Write an npz file; it appears under its name only when it is whole."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, **arrays)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give the name to write a file under; it gets its own name when it is whole."""
    path = Path(path)
    # Of this process alone: another job on the same folder may be writing the same file.
    temporary = path.with_suffix(f'.{os.getpid()}.tmp{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def list_files(folder: str | Path, what: str, module: str, otherwise: str = '') -> list[Path]:
    """List a cache's files in the order of their names.

    Raises FileNotFoundError where there are none, with how to make them (``otherwise``: or how).
    """
    files = sorted(path for path in Path(folder).glob('*.npz') if '.tmp' not in path.name)
    if not files:
        raise FileNotFoundError(
            f'no {what}s in {folder}: build them with '
            f'python -m {module} --split train --rooms 300 --out {folder}{otherwise}'
        )
    return files
