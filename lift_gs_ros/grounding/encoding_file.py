"""Encodings on disk: what the network said of each chunk, so that a restart need not ask again.

An encoding is found by its content: a hash of exactly the points that were encoded. What depends on
the points and the features alone (Gaussians, masks' features, tokens' means) is computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lift_gs_ros.archive import Arrays, read_archive, write_archive
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.model.lift_gs import LiftGS

FORMAT = 'lift_gs_ros encodings'
FORMAT_VERSION = 1  # another one too where the code makes other encodings with the same weights
LARGEST = 65504  # float16 has no larger numbers


class Parts(NamedTuple):
    """What is kept of one ``SceneEncoding``; float16 once it has been in a file."""

    features: Tensor  # (P, F)
    keys: Tensor  # (L, V, H)
    values: Tensor  # (L, V, H)


def cloud_fingerprint(cloud: PointCloud, num_core: int) -> str:
    """Name what is encoded: SHA-256 of the points in their order, the first ones a chunk's own."""
    digest = hashlib.sha256(f'{num_core} of {len(cloud)} points'.encode())
    digest.update(cloud.positions.tobytes())
    digest.update(cloud.colors.tobytes())
    return digest.hexdigest()


def model_fingerprint(model: LiftGS) -> str:
    """Name what encodes: SHA-256 of the config and of the parameters."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class EncodingFile:
    """The content. Raises ValueError where the parts do not fit together."""

    model: str  # its fingerprint
    chunks: dict[str, Parts]  # by the fingerprint of the points

    def __str__(self) -> str:
        return f'{len(self.chunks)} encodings, {self.size / 1e6:.1f} MB'

    @property
    def size(self) -> int:
        """Bytes in a file, but for some hundreds for each chunk."""
        return sum(2 * part.numel() for parts in self.chunks.values() for part in parts)

    def write(self, path: Path, max_bytes: int) -> None:
        """Write atomically: the path holds the old file or the new one (``archive.py``)."""
        if self.size > max_bytes:
            raise ValueError(
                f'{self} would not be read again: expected at most {max_bytes / 1e6:.0f} MB '
                '(max_encodings_mb); nothing was written'
            )
        write_archive(path, FORMAT, self._arrays())

    def _arrays(self) -> Iterator[tuple[str, NDArray]]:
        """In the order of the names; one by one, for they are copies."""
        for i, parts in enumerate(self.chunks.values()):
            for name, part in parts._asdict().items():
                yield f'{i:06d}.{name}', part.clamp(-LARGEST, LARGEST).half().cpu().numpy()
        yield 'fingerprints', np.array(list(self.chunks))
        yield 'model', np.array(self.model)
        yield 'version', np.array(FORMAT_VERSION)

    @classmethod
    def read(cls, path: Path, max_bytes: int) -> EncodingFile:
        """Read and check a file; ValueError where it is damaged, foreign or too large."""
        size = path.stat().st_size
        if size > max_bytes:
            raise ValueError(
                f'{path} has {size / 1e6:.0f} MB, expected at most {max_bytes / 1e6:.0f} MB '
                '(max_encodings_mb): it would be in memory until it is used'
            )
        arrays = read_archive(path, FORMAT, FORMAT_VERSION, 'file of encodings', '~/save_encodings')
        try:
            return cls(str(arrays['model']), dict(_chunks(arrays)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path} was not written by ~/save_encodings: {error}') from error


def _chunks(arrays: Arrays) -> Iterator[tuple[str, Parts]]:
    for i, fingerprint in enumerate(arrays['fingerprints'].tolist()):
        features, keys, values = (arrays[f'{i:06d}.{name}'] for name in Parts._fields)
        shapes = features.ndim, keys.ndim, values.shape
        if shapes != (2, 3, keys.shape):
            raise ValueError(
                f'encoding {i} has features {features.shape}, keys {keys.shape} and values '
                f'{values.shape}, expected (P, F) and twice (L, V, H)'
            )
        for array in (features, keys, values):
            if array.dtype != np.float16 or not np.isfinite(array).all():
                raise ValueError(f'encoding {i} is {array.dtype}, expected float16 and finite')
        yield fingerprint, Parts(*(torch.from_numpy(part) for part in (features, keys, values)))
