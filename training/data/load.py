"""Rooms to pretrain on, from whichever of the two caches a folder holds."""

from __future__ import annotations

from training.data import room_cache
from training.data.room_cache import CachedRoom
from training.data.shards import load_shards, shard_names
from training.data.storage import Storage


def load_rooms(folder: str, limit: int | None = None) -> list[CachedRoom]:
    """Read shards of ``training.pseudolabel``, or npz files of ``training.data.rooms``.

    Raises FileNotFoundError where there are neither, and ValueError where one is damaged.
    """
    if shard_names(Storage(folder)):
        return load_shards(folder, limit)
    if '://' in folder:
        raise FileNotFoundError(
            f'no shards in {folder}: make them with python -m training.pseudolabel --out {folder}'
        )
    return room_cache.load_rooms(folder, limit)
