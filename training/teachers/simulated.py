"""The imperfect teacher of simulated rooms, in the place of models that have to be downloaded.

It renders what a posed image of a simulated room shows, and errs as often as
``training.data.labels.TeacherErrors`` says.
"""

from __future__ import annotations

import functools
import re
import zlib

import numpy as np

from lift_gs_ros.simulation.camera import SimulatedCamera
from lift_gs_ros.simulation.raycasting import RoomScene
from lift_gs_ros.simulation.rooms import SPLITS, make_room
from training.data.labels import TeacherErrors
from training.data.posed_image import PosedImage
from training.data.pseudo_labels import PseudoLabels
from training.data.rooms import teacher_labels

_NAME = re.compile(r'(?:simulated[:_])?(?P<split>[a-z]+)[/_](?P<seed>\d+)')


class SimulatedTeacher:
    """Masks and captions of a simulated room; ``room`` is ``train/3``, '' for the scene's name."""

    def __init__(self, room: str = '', errors: TeacherErrors | None = None) -> None:
        self._room, self._errors = room, errors or TeacherErrors()
        if room:
            parse_room(room)

    def label(self, view: PosedImage) -> PseudoLabels:
        """Say what is in a posed image; the same view gets the same answer."""
        split, seed = parse_room(self._room or view.scene)
        scene = _scene(split, seed)
        ids = SimulatedCamera(view.camera).view(scene, view.world_from_camera).instance_ids
        rng = np.random.default_rng([seed, SPLITS.index(split), 41, zlib.crc32(view.name.encode())])
        semantics, captions = teacher_labels(scene.room, ids, self._errors, rng)
        return PseudoLabels(semantics, captions)


def parse_room(name: str) -> tuple[str, int]:
    """Read ``train/3``, or the name of such a scene.

    Raises ValueError where it is no simulated room.
    """
    match = _NAME.fullmatch(name)
    if match is None or match['split'] not in SPLITS:
        raise ValueError(
            f'{name!r} is no simulated room, expected a split ({", ".join(SPLITS)}) and a seed, as '
            'in train/3: the simulated teacher knows no other scenes'
        )
    return match['split'], int(match['seed'])


@functools.lru_cache(maxsize=4)
def _scene(split: str, seed: int) -> RoomScene:
    return RoomScene(make_room(seed, split))
