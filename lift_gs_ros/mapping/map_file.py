"""The file of a saved voxel map: npz, with a format version and a checksum, written atomically."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.mapping.kernels import AXIS_LIMIT, VALUE_COLUMNS

FORMAT = 'lift_gs_ros voxel map'
FORMAT_VERSION = 3  # 2: chunks are centred on multiples of their size; 3: logarithmic weights
NO_STAMP = -1  # npz holds no None


@dataclass(frozen=True)
class MapFile:
    """The content: chunk i has ``sizes[i]`` consecutive rows of ``codes`` and ``values``.

    Raises ValueError where the parts do not fit together.
    """

    voxel_size: float  # metres
    chunk_size: float  # metres
    keyframes: int
    last_stamp: int | None  # nanoseconds
    keys: NDArray[np.int64]  # (M, 3)
    sizes: NDArray[np.int64]  # (M,)
    last_seen: NDArray[np.int64]  # (M,) number of the keyframe
    codes: NDArray[np.int32]  # (N,) cell within the chunk
    values: NDArray[np.float32]  # (N, 8) the columns of ``kernels.VALUE_COLUMNS``

    def __post_init__(self) -> None:
        chunks, voxels = len(self.sizes), len(self.codes)
        expected = {
            'keys': (np.int64, (chunks, 3)),
            'sizes': (np.int64, (chunks,)),
            'last_seen': (np.int64, (chunks,)),
            'codes': (np.int32, (voxels,)),
            'values': (np.float32, (voxels, VALUE_COLUMNS)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(
                    f'{name} are {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}'
                )
        if (self.sizes < 1).any() or self.sizes.sum() != voxels:
            raise ValueError(f'the sizes of {chunks} chunks do not add up to {voxels} voxels')
        far = self.keys[((self.keys < -AXIS_LIMIT) | (self.keys > AXIS_LIMIT)).any(axis=1)]
        if len(far):
            raise ValueError(f'a chunk has the key {far[0].tolist()}, too far away')
        if len(np.unique(self.keys, axis=0)) < chunks:
            raise ValueError('two chunks have the same key')
        if not np.isfinite(self.values).all():
            raise ValueError('values hold NaN or inf')
        if not 0 <= self.keyframes < 2**32 or not 0 <= (self.last_stamp or 0) < 2**31 * 10**9:
            raise ValueError(f'it has {self.keyframes} keyframes, the last at {self.last_stamp} ns')

    def __str__(self) -> str:
        return (
            f'{len(self.codes)} voxels in {len(self.sizes)} chunks from {self.keyframes} keyframes'
        )

    def write(self, path: Path) -> None:
        """Write to a temporary file beside ``path``, flush it to disk, and rename it."""
        arrays = self._arrays()
        temporary = path.with_name(f'.{path.name}.part')
        temporary.unlink(missing_ok=True)  # of a process that was killed
        try:
            with temporary.open('xb') as file:
                np.savez(file, format=FORMAT, checksum=_checksum(arrays), **arrays)  # type: ignore
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    @classmethod
    def read(cls, path: Path) -> MapFile:
        """Read and check a file; ValueError where it is damaged, foreign or of another version."""
        with path.open('rb') as file:
            try:
                _refuse_compression(file)
                with np.load(file, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
            except Exception as error:  # zipfile, zlib, struct, numpy: each has its own
                raise ValueError(
                    f'{path} is damaged or is no saved map ({type(error).__name__}: {error}), '
                    'expected a file written by VoxelMap.save'
                ) from error
        if str(arrays.pop('format', '')) != FORMAT:
            raise ValueError(f'{path} is an npz file but no saved map, which says "{FORMAT}"')
        version = arrays.get('version', np.array(0))
        if not np.array_equal(version, FORMAT_VERSION):
            raise ValueError(
                f'{path} has map format version {version}, expected {FORMAT_VERSION}: '
                'it was saved by another release'
            )
        if str(arrays.pop('checksum', '')) != _checksum(arrays):
            raise ValueError(f'{path} is damaged: its checksum does not match its content')
        try:
            return cls._from_arrays(arrays)
        except (TypeError, ValueError) as error:
            raise ValueError(f'{path} was not saved by a map: {error}') from error

    def _arrays(self) -> dict[str, NDArray]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values['version'] = FORMAT_VERSION
        values['last_stamp'] = NO_STAMP if self.last_stamp is None else self.last_stamp
        return {name: np.asarray(value) for name, value in values.items()}

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray]) -> MapFile:
        names = {field.name for field in fields(cls)}
        if set(arrays) != names | {'version'}:
            raise ValueError(f'it holds {sorted(arrays)}, expected {sorted(names)}')
        return cls(
            voxel_size=float(arrays['voxel_size']),
            chunk_size=float(arrays['chunk_size']),
            keyframes=int(arrays['keyframes']),
            last_stamp=None if arrays['last_stamp'] == NO_STAMP else int(arrays['last_stamp']),
            **{name: arrays[name] for name in ('keys', 'sizes', 'last_seen', 'codes', 'values')},
        )


def _refuse_compression(file: IO[bytes]) -> None:
    """A map is stored as it is; compressed, a small file could fill the memory."""
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


def _checksum(arrays: dict[str, NDArray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f'{name} {array.dtype} {arrays[name].shape} '.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
