"""Where a browser looks from: the whole map, or an answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import viser

from lift_gs_ros.geometry import Box, FloatArray

FIELD_OF_VIEW = np.radians(45.0)  # vertical
STEP = 0.3  # metres; a smaller one is not worth moving for
ELEVATIONS = np.radians([35.0, 60.0])
MARGIN = 0.05  # metres around a box that still belong to it
FEW_POINTS = 20  # in the way do no harm
TURNS = np.radians([0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180])
FLIGHT_SECONDS, FLIGHT_STEPS = 0.6, 24


@dataclass(frozen=True)
class View:
    """A camera position and what it looks at, metres."""

    position: FloatArray  # (3,)
    look_at: FloatArray  # (3,)


def view_of_map(bounds: Box) -> View:
    """Look into the map from above a corner, all of it in sight."""
    distance = 0.6 * float(np.linalg.norm(bounds.size)) / np.tan(FIELD_OF_VIEW / 2)
    away = np.array([-0.5, -0.55, 0.75])
    return View(bounds.center + distance * away / np.linalg.norm(away), bounds.center)


def view_of_box(box: Box, points: FloatArray, middle: FloatArray) -> View:
    """Look at a box from where the fewest points (N, 3) are in the way.

    Of equally free views, the first is from the side that faces the ``middle`` (3,) of the map.
    """
    diagonal = float(np.linalg.norm(box.size))
    distance = max(1.8 * diagonal, 1.5)
    relative = points - box.center
    relative = relative[(np.abs(relative) < distance).all(axis=1)]
    relative = relative[(np.abs(relative) > box.size / 2 + MARGIN).any(axis=1)]

    def in_the_way(away: FloatArray) -> int:
        along = relative @ away
        aside = np.linalg.norm(relative - along[:, None] * away, axis=1)
        near = (along > 0) & (along < distance) & (aside < diagonal / 4)
        return int(near.sum()) // FEW_POINTS

    inwards = np.arctan2(*(middle - box.center)[[1, 0]])
    candidates = [
        np.array([cos * np.cos(azimuth), cos * np.sin(azimuth), np.sin(elevation)])
        for elevation in ELEVATIONS
        for azimuth in inwards + TURNS
        for cos in (np.cos(elevation),)
    ]
    return View(box.center + distance * min(candidates, key=in_the_way), box.center)


def fly(client: viser.ClientHandle, view: View) -> None:
    """Move one browser's camera there, smoothly; blocks until it has arrived."""
    camera = client.camera
    begin = View(camera.position, camera.look_at)
    for step in range(1, FLIGHT_STEPS + 1):
        share = step / FLIGHT_STEPS
        share = share * share * (3 - 2 * share)  # begins and ends gently
        with client.atomic():
            camera.position = begin.position + share * (view.position - begin.position)
            camera.look_at = begin.look_at + share * (view.look_at - begin.look_at)
        time.sleep(FLIGHT_SECONDS / FLIGHT_STEPS)


class Home:
    """Keeps the view of the whole map that a browser begins with, while the map grows.

    Browsers that still look from there move along; one that was moved by its user is left alone.
    """

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._view: View | None = None
        self._left_at: dict[int, FloatArray] = {}  # where each browser was put
        server.initial_camera.fov = FIELD_OF_VIEW
        server.on_client_connect(self._on_connect)
        server.on_client_disconnect(self._on_disconnect)

    def _on_connect(self, client: viser.ClientHandle) -> None:
        self._left_at[client.client_id] = client.camera.position

    def _on_disconnect(self, client: viser.ClientHandle) -> None:
        self._left_at.pop(client.client_id, None)

    def follow(self, bounds: Box) -> None:
        """Look at the map within these bounds."""
        view = view_of_map(bounds)
        if self._view and np.linalg.norm(view.position - self._view.position) < STEP:
            return
        self._view = view
        initial = self._server.initial_camera
        initial.position, initial.look_at = view.position, view.look_at
        for client in self._server.get_clients().values():
            camera, left_at = client.camera, self._left_at.get(client.client_id)
            if left_at is not None and np.linalg.norm(camera.position - left_at) < STEP:
                with client.atomic():
                    camera.position, camera.look_at = view.position, view.look_at
                self._left_at[client.client_id] = view.position
