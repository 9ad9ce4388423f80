"""The cache of pseudo labels: WebDataset tar shards, each with its part of the map.

``docs/pseudo_labels.md`` describes the format. A shard is ``NAME.tar`` and, written after it,
``NAME.json`` with its size and SHA-256: without the second, or with another size or sum, the first
is no shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift_gs_ros.geometry import PointCloud
from training.data.room_cache import CachedRoom, CachedView
from training.data.storage import Storage
from training.data.view_files import Files, decode_cloud, decode_labels, decode_view

VERSION = 1
REDO = 'run the job that made it again (python -m training.pseudolabel): it makes this shard anew'
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardInfo:
    """What is said about a shard beside it."""

    version: int
    scene: str
    views: list[str]  # names of those in it, in order
    skipped: dict[str, str]  # views that no teacher could label, and why
    size: int  # bytes of the tar
    sha256: str
    bytes_of: dict[str, int]  # by kind of file: image.jpg, semantics.png ...
    dense_bytes: int  # what maps (H, W, F) of half-precision features would take instead


def to_tar(samples: Mapping[str, Files]) -> bytes:
    """Pack samples; the same samples give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.USTAR_FORMAT) as tar:
        for name, files in samples.items():
            for kind, content in files.items():
                member = tarfile.TarInfo(f'{name}.{kind}')
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def from_tar(content: bytes) -> dict[str, Files]:
    """Unpack samples; a tar that was cut off is not always noticed here, hence the sums.

    Raises ValueError where two members have one name, for neither is more right than the other.
    """
    samples: dict[str, Files] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode='r:') as tar:  # never decompresses
        for member in tar:
            name, _, kind = member.name.partition('.')
            file = tar.extractfile(member)
            assert file is not None, f'{member.name} is no file'
            files = samples.setdefault(name, {})
            if kind in files:
                raise ValueError(
                    f'{member.name} is in a tar twice, expected each file once: delete the shard, '
                    f'and {REDO}'
                )
            files[kind] = file.read()
    return samples


def write_shard(
    storage: Storage,
    name: str,
    scene: str,
    clouds: Mapping[str, Files],  # chunks of the map
    views: Mapping[str, Files],
    skipped: Mapping[str, str],
    dense_bytes: int,
) -> ShardInfo:
    """Write a shard, and then what makes it one."""
    samples = {**clouds, **views}
    content = to_tar(samples)
    bytes_of: Counter[str] = Counter()
    for files in samples.values():
        bytes_of.update({kind: len(part) for kind, part in files.items()})
    info = ShardInfo(
        VERSION,
        scene,
        list(views),
        dict(skipped),
        len(content),
        hashlib.sha256(content).hexdigest(),
        dict(bytes_of),
        dense_bytes,
    )
    storage.remove(f'{name}.json')  # of a damaged one: it must not vouch for this one
    storage.write(f'{name}.tar', content)
    storage.write(f'{name}.json', json.dumps(vars(info), indent=1).encode())
    return info


def read_info(storage: Storage, name: str) -> ShardInfo:
    """Read what is said about a shard.

    Raises FileNotFoundError where it is not whole yet and ValueError where it is another version.
    """
    where = f'{storage.url}/{name}.json'
    try:
        values: dict[str, Any] = json.loads(storage.read(f'{name}.json'))
        if (version := values['version']) != VERSION:
            raise ValueError(f'it has version {version}, expected {VERSION}')
        return ShardInfo(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{where} is damaged or of another version ({error}): {REDO}') from error


def is_whole(storage: Storage, name: str) -> bool:
    """Say whether a shard is there with its size; reading it also compares its sum."""
    try:
        return storage.size(f'{name}.tar') == read_info(storage, name).size
    except (FileNotFoundError, ValueError):
        return False


def read_samples(storage: Storage, name: str) -> dict[str, Files]:
    """Read a shard's files.

    Raises ValueError where a byte is missing or another than was written.
    """
    info, content = read_info(storage, name), storage.read(f'{name}.tar')
    where = f'{storage.url}/{name}.tar'
    if len(content) != info.size:
        raise ValueError(f'{where} has {len(content)} bytes, expected {info.size}: {REDO}')
    if hashlib.sha256(content).hexdigest() != info.sha256:
        # The job compares sizes alone: to read all shards would take long.
        raise ValueError(
            f'{where} is damaged, its SHA-256 is not {info.sha256}: delete it, and {REDO}'
        )
    return from_tar(content)


def read_room(storage: Storage, name: str) -> CachedRoom:
    """Read a shard as training sees it.

    Raises ValueError where it is damaged, or shows nothing.
    """
    samples = read_samples(storage, name)
    clouds = [decode_cloud(files) for files in samples.values() if 'cloud.npz' in files]
    labelled = [
        (decode_view(files), decode_labels(files))
        for files in samples.values()
        if 'cloud.npz' not in files
    ]
    if not labelled or not sum(map(len, clouds)):
        raise ValueError(f'{storage.url}/{name}.tar shows nothing')
    cloud = PointCloud.concatenate(clouds)
    views = [
        CachedView(
            view.camera,
            view.world_from_camera,
            view.image,
            labels.semantics,
            labels.captions or [],
            cloud.positions,
            labels.embeddings,
        )
        for view, labels in labelled
    ]
    return CachedRoom(name, cloud.positions, cloud.colors, views)


def shard_names(storage: Storage) -> list[str]:
    """List the shards that are whole, as far as names tell; others are logged."""
    tars = {Path(name).stem for name in storage.names('.tar')}
    whole = {Path(name).stem for name in storage.names('.json')}
    for name in sorted(tars - whole):
        logger.warning('%s/%s.tar is left out, it has no .json: %s', storage.url, name, REDO)
    return sorted(tars & whole)
