"""A folder on a local disk or in an object store, where nothing half-written has a final name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Storage:
    """Files under a path or an fsspec URL (``s3://bucket/folder``, ``memory://folder``).

    On a local disk a file appears under its name when it is whole and on the disk. Object stores
    put an object when its upload is complete.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url).rstrip('/')
        # s3fs and its like take a folder to hold what it held when they first looked, also for
        # reading a file by its name; other processes write too.
        self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        self.is_local = isinstance(self._fs, LocalFileSystem)

    def read(self, name: str) -> bytes:
        """Read a file; raises FileNotFoundError where there is none."""
        with self._fs.open(self._path(name), 'rb') as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or leave what was there before as it was."""
        path = self._path(name)
        if not self.is_local:
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            self._fs.pipe_file(path, content)  # a file that is open is put even where it fails
            return
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f'.{os.getpid()}-{threading.get_ident()}.part'
        try:
            with open(temporary, 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def size(self, name: str) -> int | None:
        """Size of a file in bytes, None where there is none."""
        try:
            return int(self._fs.size(self._path(name)))
        except FileNotFoundError:
            return None

    def names(self, suffix: str, folder: str = '') -> list[str]:
        """List the files directly in a folder whose names end so, sorted, without the folder."""
        path = self._path(folder)
        if not self._fs.isdir(path):
            return []
        names = (entry.rstrip('/').rpartition('/')[2] for entry in self._fs.ls(path, detail=False))
        return sorted(n for n in names if n.endswith(suffix) and not n.startswith('.'))

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._path(name), recursive=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold a local folder for one job; object stores have no locks.

        Raises RuntimeError where another job holds it.
        """
        if not self.is_local:
            yield
            return
        path = Path(self._path('.lock'))
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RuntimeError(f'another job is writing to {self.url}: wait for it') from error
            yield

    def _path(self, name: str) -> str:
        return f'{self._root}/{name}' if name else self._root
