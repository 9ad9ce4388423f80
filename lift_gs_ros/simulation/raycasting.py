"""The room as a ray-casting scene (Open3D), and the one place where Open3D is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.simulation.room import Room

_DEBIAN_PACKAGES = 'libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6'


def import_open3d() -> Any:
    """Import open3d, or raise ImportError that says what to install."""
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise ImportError(f'the simulation needs open3d ({error}): pip install open3d') from error
    except (ImportError, OSError) as error:
        raise ImportError(
            f'open3d cannot be loaded: {error}. A system library is missing; on Debian and Ubuntu: '
            f'apt install {_DEBIAN_PACKAGES}'
        ) from error
    return open3d


@dataclass(frozen=True)
class Hits:
    """What a ray per pixel met; all arrays are (H, W) or (H, W, 3)."""

    distance: NDArray[np.float32]  # along the ray in units of its direction's length; inf: nothing
    triangle: NDArray[np.int64]  # index into the scene's triangles; -1: nothing
    normals: NDArray[np.float32]  # (H, W, 3) unit, world frame, towards the camera


class RoomScene:
    """All triangles of a room, ready for ray casting. Build it once per room."""

    def __init__(self, room: Room) -> None:
        self.room = room
        parts = [(o.instance_id, o.mesh) for o in room.objects]
        parts += [(s.structure_id, s.mesh) for s in room.structure]
        meshes = [mesh for _, mesh in parts]
        offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
        vertices = np.concatenate([mesh.vertices for mesh in meshes])
        triangles = np.concatenate([m.triangles + o for m, o in zip(meshes, offsets)])
        counts = [len(mesh.triangles) for mesh in meshes]
        # The last row stands for "nothing hit": index -1.
        self.triangle_ids = np.append(np.repeat([i for i, _ in parts], counts), 0).astype(np.int32)
        colors = np.concatenate([mesh.colors for mesh in meshes])
        self.triangle_colors = np.concatenate([colors, np.zeros((1, 3), np.float32)])
        open3d = import_open3d()
        self._tensor = open3d.core.Tensor
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(self._tensor(vertices), self._tensor(triangles.astype(np.uint32)))

    def cast(self, origins: FloatArray, directions: FloatArray) -> Hits:
        """Cast rays (..., 3) in the world frame."""
        shape = np.broadcast_shapes(origins.shape, directions.shape)
        rays = np.empty((*shape[:-1], 6), np.float32)
        rays[..., :3], rays[..., 3:] = origins, directions
        answer = self._scene.cast_rays(self._tensor(rays), nthreads=1)
        triangle = answer['primitive_ids'].numpy()
        missed = triangle == self._scene.INVALID_ID
        normals = answer['primitive_normals'].numpy()
        away = np.einsum('...i,...i->...', normals, rays[..., 3:]) > 0
        normals[away] *= -1
        return Hits(
            answer['t_hit'].numpy(), np.where(missed, -1, triangle.astype(np.int64)), normals
        )

    def view(self, camera: Camera, world_from_camera: FloatArray) -> tuple[Hits, FloatArray]:
        """Cast a ray per pixel; distances are depths along the optical axis.

        Returns the hits and the rays' directions (H, W, 3), in the world frame, z-depth 1.
        """
        rays = camera.unproject(np.ones((camera.height, camera.width)))
        directions = (rays @ world_from_camera[:3, :3].T).astype(np.float32)
        return self.cast(world_from_camera[:3, 3].astype(np.float32), directions), directions
