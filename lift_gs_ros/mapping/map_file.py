"""The file of a saved voxel map: npz, with a format version and a checksum, written atomically."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.archive import read_archive, write_archive
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
        """Write atomically: the path holds the old file or the new one (``archive.py``)."""
        write_archive(path, FORMAT, sorted(self._arrays().items()))

    @classmethod
    def read(cls, path: Path) -> MapFile:
        """Read and check a file; ValueError where it is damaged, foreign or of another version."""
        arrays = read_archive(path, FORMAT, FORMAT_VERSION, 'saved map', 'VoxelMap.save')
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
