"""An answer in the browser's scene: masks as voxels, boxes, labels; the colour says how sure."""

from __future__ import annotations

import colorsys

import numpy as np
import viser
from numpy.typing import NDArray

from lift_gs_ros.geometry import BOX_EDGES, Box
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.viewer.map_points import voxel_cells

MAX_CUBES = 20_000  # drawn of one mask, evenly chosen
UNSURE, SURE = 0.5, 1.0  # scores at the two ends of the colour scale
UNSURE_HUE, SURE_HUE = 35 / 360, 150 / 360  # amber to green


def confidence_color(score: float) -> tuple[int, int, int]:
    """Colour (red, green, blue, 0 to 255) of a score: amber up to 0.5, green at 1."""
    share = min(max((score - UNSURE) / (SURE - UNSURE), 0.0), 1.0)
    hue = UNSURE_HUE + share * (SURE_HUE - UNSURE_HUE)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.95, 0.95 - 0.2 * share)
    return round(255 * red), round(255 * green), round(255 * blue)


def box_lines(box: Box) -> NDArray[np.float64]:
    """Edges of a box as line segments (12, 2, 3)."""
    return box.corners()[np.array(BOX_EDGES)]


_CUBE = Box(np.zeros(3), np.ones(3)).corners()
# Two triangles a side, seen from outside counter-clockwise; corners as in Box.corners().
_SIDES = [(0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)]
_TRIANGLES = np.array([t for a, b, c, d in _SIDES for t in ((a, b, c), (a, c, d))])


class AnswerScene:
    """Shows one answer at a time. Not thread-safe."""

    def __init__(self, scene: viser.SceneApi) -> None:
        self._scene = scene
        self._root: viser.FrameHandle | None = None

    def clear(self) -> None:
        """Take the answer away."""
        if self._root is not None:
            self._root.remove()
            self._root = None

    def show(self, grounding: Grounding, voxel_size: float) -> None:
        """Replace what is shown by this answer."""
        self.clear()
        self._root = self._scene.add_frame('/answer', show_axes=False)
        for number, instance in enumerate(grounding.instances):
            self._add(f'/answer/{number}', instance, voxel_size)

    def _add(self, name: str, instance: GroundedInstance, voxel_size: float) -> None:
        color, scene, box = confidence_color(instance.score), self._scene, instance.box
        # What is only mentioned has no mask here: it would hide what was asked for.
        if instance.is_target and len(instance.points):
            cells = np.unique(voxel_cells(instance.points, voxel_size), axis=0)
            centers = voxel_size * cells[:: 1 + len(cells) // MAX_CUBES].astype(np.float32)
            scene.add_batched_meshes_simple(
                f'{name}/mask',
                voxel_size * _CUBE,
                _TRIANGLES,
                np.tile([1.0, 0.0, 0.0, 0.0], (len(centers), 1)),
                centers,
                batched_colors=tuple(0.75 * np.array(color) / 255),  # the lights are bright
                flat_shading=True,
                lod='off',
                cast_shadow=False,
                receive_shadow=False,
            )
        scene.add_line_segments(
            f'{name}/box',
            box_lines(box),
            color,
            thickness=4 if instance.is_target else 2,
            thickness_units='screen',
        )
        scene.add_label(
            f'{name}/label',
            f'{instance.phrase}  {instance.score:.0%}',
            position=box.center + [0, 0, box.size[2] / 2 + 0.05],
            anchor='bottom-center',
        )
