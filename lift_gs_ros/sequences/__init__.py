"""Posed RGB-D sequences: one function opens any layout it knows."""

from __future__ import annotations

from pathlib import Path

from lift_gs_ros.sequences import seven_scenes, tum
from lift_gs_ros.sequences.recorded import RecordedSequence
from lift_gs_ros.sequences.sequence import Sequence

__all__ = ['RecordedSequence', 'Sequence', 'open_sequence']

# Name, what it looks like, how it is recognised and how it is opened.
LAYOUTS = [
    ('7-Scenes', seven_scenes.LAYOUT, seven_scenes.is_seven_scenes, seven_scenes.open_seven_scenes),
    ('TUM RGB-D', tum.LAYOUT, tum.is_tum, tum.open_tum),
    ('TUM keyframes', tum.KEYFRAME_LAYOUT, tum.is_tum_keyframes, tum.open_tum_keyframes),
]


def open_sequence(path: str | Path) -> RecordedSequence:
    """Open a folder of posed RGB-D frames, whichever layout it has.

    Raises FileNotFoundError or NotADirectoryError where there is no such folder, and ValueError,
    with the layouts tried and what was found, where none matches.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'there is no {path}, expected the folder of a sequence')
    if not path.is_dir():
        raise NotADirectoryError(f'{path} is a file, expected the folder of a sequence')
    for _, _, recognises, open_layout in LAYOUTS:
        if recognises(path):
            return open_layout(path)
    names = sorted(item.name + '/' * item.is_dir() for item in path.iterdir())
    found = ', '.join(names[:10]) + (f' and {len(names) - 10} more' if len(names) > 10 else '')
    tried = '\n'.join(f'  {name}: {looks}' for name, looks, _, _ in LAYOUTS)
    raise ValueError(
        f'{path} is no sequence in a known layout; it holds: {found or "nothing"}. '
        f'Layouts tried:\n{tried}'
    )
