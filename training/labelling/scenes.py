"""Sequences by name: folders and recordings, or simulated rooms."""

from __future__ import annotations

import re
from collections.abc import Sequence as ListOf
from pathlib import Path

from lift_gs_ros.sequences import BagTopics, Sequence, open_sequence
from lift_gs_ros.simulation.rooms import SPLITS, make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

SIMULATED_FRAMES, SIMULATED_SIZE = 60, (320, 240)
_SIMULATED = re.compile(r'simulated:(?P<split>[a-z]+)/(?P<first>\d+)(?:-(?P<last>\d+))?')
_NAMED = re.compile(r'(?P<name>[\w-]+)=(?P<source>.+)')


def list_scenes(sources: ListOf[str]) -> dict[str, str]:
    """Name each source: ``PATH``, ``NAME=PATH`` or ``simulated:SPLIT/FIRST[-LAST]``.

    Raises ValueError where two have the same name, for files are called after it.
    """
    scenes: dict[str, str] = {}
    for name, source in (pair for text in sources for pair in _expand(text)):
        if name in scenes:
            raise ValueError(
                f'two sequences are called {name!r}, {scenes[name]} and {source}: give one of them '
                f'another name, as in other_name={source}'
            )
        scenes[name] = source
    return scenes


def _expand(text: str) -> list[tuple[str, str]]:
    simulated = _SIMULATED.fullmatch(text)
    if simulated:
        split, first = simulated['split'], int(simulated['first'])
        seeds = range(first, int(simulated['last'] or first) + 1)
        return [(f'{split}_{seed:06d}', f'simulated:{split}/{seed}') for seed in seeds]
    named = _NAMED.fullmatch(text)
    if named:
        simulated = _SIMULATED.fullmatch(named['source'])
        source = named['source'] if simulated else str(Path(named['source']).resolve())
        return [(named['name'], source)]
    path = Path(text).resolve()  # workers may be in another folder
    return [(re.sub(r'[^\w-]+', '_', path.name if path.is_dir() else path.stem), str(path))]


def open_scene(source: str, topics: BagTopics | None = None) -> Sequence:
    """Open what ``list_scenes`` names; ``topics`` and errors are those of ``open_sequence``."""
    simulated = _SIMULATED.fullmatch(source)
    if simulated is None:
        return open_sequence(source, topics)
    if topics not in (None, BagTopics()):
        raise ValueError(f'{source} is no bag, so there are no topics to choose from')
    if simulated['split'] not in SPLITS:
        raise ValueError(f'{source!r} names no split, expected one of {", ".join(SPLITS)}')
    seed = int(simulated['first'])
    camera = DEFAULT_CAMERA.resized(*SIMULATED_SIZE)
    return RoomSequence(make_room(seed, simulated['split']), SIMULATED_FRAMES, camera, seed=seed)
