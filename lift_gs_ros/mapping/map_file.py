"""The file of a saved voxel map: npz, with a format version and a checksum, written atomically."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FORMAT = 'lift_gs_ros voxel map'
FORMAT_VERSION = 2  # 2: chunks are centred on multiples of their size
NO_STAMP = -1  # npz holds no None


@dataclass(frozen=True)
class MapFile:
    """The content: chunk i has ``sizes[i]`` consecutive rows of ``codes`` and ``values``."""

    voxel_size: float  # metres
    chunk_size: float  # metres
    keyframes: int
    last_stamp: int | None  # nanoseconds
    keys: NDArray[np.int64]  # (M, 3)
    sizes: NDArray[np.int64]  # (M,)
    last_seen: NDArray[np.int64]  # (M,) number of the keyframe
    codes: NDArray[np.int32]  # (N,) cell within the chunk
    values: NDArray[np.float32]  # (N, 8) the columns of ``kernels.VALUE_COLUMNS``

    def write(self, path: Path) -> None:
        """Write to a temporary file beside ``path``, flush it to disk, and rename it."""
        arrays = self._arrays()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                np.savez(file, format=FORMAT, checksum=_checksum(arrays), **arrays)  # type: ignore
                file.flush()
                os.fsync(file.fileno())
                # A temporary file is its owner's alone; a map is a file like any other.
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(file.name, 0o666 & ~umask)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise

    @classmethod
    def read(cls, path: Path) -> MapFile:
        """Read and check a file; ValueError where it is damaged, foreign or of another version."""
        with path.open('rb') as file:
            try:
                with np.load(file, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
            except Exception as error:  # zipfile, zlib, struct, numpy: each has its own
                raise ValueError(
                    f'{path} is damaged or is no saved map ({type(error).__name__}: {error}), '
                    'expected a file written by VoxelMap.save'
                ) from error
        if str(arrays.pop('format', '')) != FORMAT:
            raise ValueError(f'{path} is an npz file but no saved map, which says "{FORMAT}"')
        version = int(arrays.get('version', 0))
        if version != FORMAT_VERSION:
            raise ValueError(
                f'{path} has map format version {version}, expected {FORMAT_VERSION}: '
                'it was saved by another release'
            )
        if str(arrays.pop('checksum', '')) != _checksum(arrays):
            raise ValueError(f'{path} is damaged: its checksum does not match its content')
        return cls._from_arrays(arrays)

    def _arrays(self) -> dict[str, NDArray]:
        fields = {**asdict(self), 'version': FORMAT_VERSION}
        fields['last_stamp'] = NO_STAMP if self.last_stamp is None else self.last_stamp
        return {name: np.asarray(value) for name, value in fields.items()}

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray]) -> MapFile:
        arrays.pop('version')
        scalars = {name: array.item() for name, array in arrays.items() if array.ndim == 0}
        if scalars['last_stamp'] == NO_STAMP:
            scalars['last_stamp'] = None
        return cls(**{**arrays, **scalars})


def _checksum(arrays: dict[str, NDArray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f'{name} {array.dtype} {arrays[name].shape} '.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
