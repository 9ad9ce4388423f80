"""Language annotations of the field's data sets, in one schema: ``read_annotations``.

A new layout is one file with a ``read_x(path) -> list[Annotation]``, and a line in ``READERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from training.data.annotations.annotation import Annotation
from training.data.annotations.locate3d import read_locate3d
from training.data.annotations.multi3drefer import read_multi3drefer
from training.data.annotations.nr3d import read_nr3d
from training.data.annotations.scanents3d import read_scanents3d
from training.data.annotations.scanrefer import read_scanrefer
from training.data.annotations.sr3d import read_sr3d
from training.data.annotations.vla3d import read_vla3d

__all__ = ['READERS', 'Annotation', 'annotations_by_scene', 'read_annotations']

READERS: dict[str, Callable[[Path], list[Annotation]]] = {
    'scanrefer': read_scanrefer,
    'nr3d': read_nr3d,
    'sr3d': read_sr3d,
    'scanents3d': read_scanents3d,
    'multi3drefer': read_multi3drefer,
    'locate3d': read_locate3d,
    'vla3d': read_vla3d,
}


def read_annotations(source: str) -> list[Annotation]:
    """Read ``LAYOUT:PATH``, as in ``scanrefer:ScanRefer_filtered_val.json``.

    Raises ValueError, with file and entry, for what is not of the layout, and FileNotFoundError.
    """
    layout, _, path = source.partition(':')
    if layout not in READERS or not path:
        raise ValueError(
            f'annotations are "{source}", expected LAYOUT:PATH with one of {", ".join(READERS)}'
        )
    if not Path(path).exists():
        raise FileNotFoundError(
            f'no annotations at {path}: docs/datasets.md says where to get them'
        )
    return READERS[layout](Path(path))


def annotations_by_scene(sources: Iterable[str]) -> dict[str, list[Annotation]]:
    """Read several ``LAYOUT:PATH``; returns each scene's annotations, in the order of the files."""
    of_scene: dict[str, list[Annotation]] = {}
    for source in sources:
        for annotation in read_annotations(source):
            of_scene.setdefault(annotation.scene, []).append(annotation)
    return of_scene
