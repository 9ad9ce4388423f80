"""Rooms to pretrain on, from whichever of the two caches a folder holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data.cache_files import list_files
from training.data.room_cache import MODULE, WHAT, CachedRoom, load_room
from training.data.shards import read_room, shard_names
from training.data.storage import Storage


@dataclass(frozen=True)
class RoomFiles:
    """The rooms of a folder: their names, in order, and how to read one of them."""

    folder: str
    names: list[str]
    read: Callable[[str], CachedRoom]  # raises ValueError where a room is damaged


def open_rooms(folder: str, limit: int | None = None) -> RoomFiles:
    """List shards of ``training.pseudolabel``, or npz files of ``training.data.rooms``.

    A folder or, for shards, an fsspec URL. Nothing is read yet. Raises FileNotFoundError where
    there are neither.
    """
    storage = Storage(folder)
    if names := shard_names(storage):
        return RoomFiles(folder, names[:limit], partial(read_room, storage))
    if '://' in folder:
        raise FileNotFoundError(
            f'no shards in {folder}: make them with python -m training.pseudolabel --out {folder}'
        )
    otherwise = ', shards of recordings with python -m training.pseudolabel'
    names = [path.name for path in list_files(folder, WHAT, MODULE, otherwise)]
    return RoomFiles(folder, names[:limit], lambda name: load_room(Path(folder) / name))
