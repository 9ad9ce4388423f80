"""Posed RGB-D sequences: one function opens any layout it knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lift_gs_ros.sequences import (
    aria_synthetic,
    arkitscenes,
    bag,
    icl_nuim,
    matterport,
    open3d_log,
    polycam,
    record3d,
    replica,
    scannet,
    scannetpp,
    scannetpp_dslr,
    seven_scenes,
    structured3d,
    taskonomy,
    tum,
)
from lift_gs_ros.sequences.bag_topics import BagTopics
from lift_gs_ros.sequences.recorded import RecordedSequence
from lift_gs_ros.sequences.sequence import Sequence

__all__ = ['BagTopics', 'RecordedSequence', 'Sequence', 'open_sequence']

# Name, what it looks like, how it is recognised and how it is opened; a file or a folder each.
Layout = tuple[str, str, Callable[[Path], bool], Callable[[Path], RecordedSequence]]
LAYOUTS: list[Layout] = [
    ('ROS bag', bag.LAYOUT, bag.is_bag, bag.open_bag),
    ('7-Scenes', seven_scenes.LAYOUT, seven_scenes.is_seven_scenes, seven_scenes.open_seven_scenes),
    ('TUM RGB-D', tum.LAYOUT, tum.is_tum, tum.open_tum),
    ('TUM keyframes', tum.KEYFRAME_LAYOUT, tum.is_tum_keyframes, tum.open_tum_keyframes),
    ('ScanNet', scannet.LAYOUT, scannet.is_scannet, scannet.open_scannet),
    ('ScanNet .sens', scannet.SENS_LAYOUT, scannet.is_sens, scannet.open_sens),
    ('ScanNet++ iPhone', scannetpp.LAYOUT, scannetpp.is_scannetpp, scannetpp.open_scannetpp),
    (
        'ScanNet++ DSLR',
        scannetpp_dslr.LAYOUT,
        scannetpp_dslr.is_scannetpp_dslr,
        scannetpp_dslr.open_scannetpp_dslr,
    ),
    ('Matterport3D', matterport.LAYOUT, matterport.is_matterport, matterport.open_matterport),
    (
        'Structured3D',
        structured3d.LAYOUT,
        structured3d.is_structured3d,
        structured3d.open_structured3d,
    ),
    ('Taskonomy', taskonomy.LAYOUT, taskonomy.is_taskonomy, taskonomy.open_taskonomy),
    (
        'Aria Synthetic Environments',
        aria_synthetic.LAYOUT,
        aria_synthetic.is_aria_synthetic,
        aria_synthetic.open_aria_synthetic,
    ),
    ('ICL-NUIM', icl_nuim.LAYOUT, icl_nuim.is_icl_nuim, icl_nuim.open_icl_nuim),
    ('Replica', replica.LAYOUT, replica.is_replica, replica.open_replica),
    ('Open3D', open3d_log.LAYOUT, open3d_log.is_open3d, open3d_log.open_open3d),
    ('Polycam', polycam.LAYOUT, polycam.is_polycam, polycam.open_polycam),
    ('Record3D', record3d.LAYOUT, record3d.is_record3d, record3d.open_record3d),
    ('ARKitScenes', arkitscenes.LAYOUT, arkitscenes.is_arkitscenes, arkitscenes.open_arkitscenes),
]


def open_sequence(path: str | Path, topics: BagTopics | None = None) -> RecordedSequence:
    """Open a bag, or a folder of posed RGB-D frames, whichever layout it has.

    ``topics`` says which topics of a bag to take, where finding them by type is not enough.

    Raises FileNotFoundError where there is nothing, and ValueError, with the layouts tried and what
    was found, where none matches.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'there is no {path}, expected a bag or the folder of a sequence')
    for _, _, recognises, open_layout in LAYOUTS:
        if recognises(path):
            if open_layout is bag.open_bag:
                return bag.open_bag(path, topics)
            if topics not in (None, BagTopics()):
                raise ValueError(f'{path} is no bag, so there are no topics to choose from')
            return open_layout(path)
    tried = '\n'.join(f'  {name}: {looks}' for name, looks, _, _ in LAYOUTS)
    raise ValueError(
        f'{path} is no sequence in a known layout; {_description(path)}. Layouts tried:\n{tried}'
    )


def _description(path: Path) -> str:
    """Say what there is instead of a sequence, and which sequences are in it."""
    if path.is_file():
        return f'it is a file of {path.stat().st_size} bytes'
    items = sorted(path.iterdir())
    names = [item.name + '/' * item.is_dir() for item in items]
    more = f' and {len(names) - 10} more' if len(names) > 10 else ''
    inside = [
        f'{item.name} ({name})'
        for item in items[:10]
        for name, _, recognises, _ in LAYOUTS
        if recognises(item)
    ]
    hint = f'. Open one of what is in it: {", ".join(inside)}' if inside else ''
    return f'it holds: {", ".join(names[:10]) or "nothing"}{more}{hint}'
