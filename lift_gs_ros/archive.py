"""Files of arrays: npz, with a format, a version and a checksum, written atomically.

Nothing is pickled or compressed. What a damaged or foreign file raises says what it is and what was
expected; whoever reads one has all of it checked before anything is changed.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike, NDArray

Arrays = dict[str, NDArray]


def write_archive(path: Path, file_format: str, arrays: Iterable[tuple[str, ArrayLike]]) -> None:
    """Write to a temporary file beside ``path``, flush it to disk, and rename it.

    ``arrays`` come in the order of their names, ``version`` among them; they are asked for one by
    one, so that a large file need not be in memory as a whole.
    """
    temporary = path.with_name(f'.{path.name}.part')
    temporary.unlink(missing_ok=True)  # of a process that was killed
    try:
        with temporary.open('xb') as file:
            _write_arrays(file, file_format, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_arrays(
    file: IO[bytes], file_format: str, arrays: Iterable[tuple[str, ArrayLike]]
) -> None:
    digest = hashlib.sha256()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, values in arrays:
            array = np.asarray(values)
            _add(digest, name, array)
            _write_array(archive, name, array)
        _write_array(archive, 'format', np.asarray(file_format))
        _write_array(archive, 'checksum', np.asarray(digest.hexdigest()))


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray) -> None:
    """As np.savez does it, which wants all arrays at once."""
    with archive.open(f'{name}.npy', 'w', force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def read_archive(path: Path, file_format: str, version: int, what: str, writer: str) -> Arrays:
    """Read and check a file; ValueError where it is damaged, foreign or of another version.

    ``what`` the file should be ('saved map') and ``writer``, what writes such files, are for the
    error.
    """
    with path.open('rb') as file:
        try:
            _refuse_compression(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception as error:  # zipfile, zlib, struct, numpy: each has its own
            raise ValueError(
                f'{path} is damaged or is no {what} ({type(error).__name__}: {error}), '
                f'expected a file written by {writer}'
            ) from error
    if str(arrays.pop('format', '')) != file_format:
        raise ValueError(f'{path} is an npz file but no {what}, which says "{file_format}"')
    found = arrays.get('version', np.array(0))
    if not np.array_equal(found, version):
        raise ValueError(
            f'{path} has format version {found}, expected {version}: '
            'it was saved by another release'
        )
    if str(arrays.pop('checksum', '')) != checksum(arrays):
        raise ValueError(f'{path} is damaged: its checksum does not match its content')
    return arrays


def _refuse_compression(file: IO[bytes]) -> None:
    """A file is stored as it is; compressed, a small one could fill the memory."""
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError('it is compressed')
    file.seek(0)


def _sync_folder(folder: Path) -> None:
    """Let the new name survive a loss of power, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(arrays: Arrays) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        _add(digest, name, arrays[name])
    return digest.hexdigest()


def _add(digest, name: str, array: NDArray) -> None:
    digest.update(f'{name} {array.dtype} {array.shape} '.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
