"""A walk through a room that shows all of it, as somebody scanning the room would take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray, look_at
from lift_gs_ros.simulation.free_space import FreeSpace, clearance
from lift_gs_ros.simulation.raycasting import RoomScene
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.rooms import SPLITS

_FRAMES_PER_LAP = 60
_STOPS = 3  # viewpoints of a lap, at least
_CANDIDATES = 48  # places from which the room is looked at, before the best are chosen
_SAMPLES = 12  # points per object that decide whether it is seen
_SEEN = 0.25  # share of these points that must be in sight
_RANGE = (0.9, 4.5)  # metres from which an object is well seen


def camera_path(
    room: Room,
    num_frames: int,
    seed: int = 0,
    scene: RoomScene | None = None,
    laps: int | None = None,
) -> list[FloatArray]:
    """Walk a handheld camera through the free space of a room, at 0.8 to 1.6 m height.

    Each lap has viewpoints of its own, from which together every object is looked at where some
    free place allows it. Without ``laps`` every 60 frames are one: steps of some 0.1 m, for looking
    at a room in few frames. Returns ``world_from_camera`` (4, 4) for each frame. ``scene`` saves
    building it again. Raises ValueError where the number of frames is below 2, or of laps below 1.
    """
    if num_frames < 2:
        raise ValueError(f'num_frames is {num_frames}, expected at least 2')
    if laps is None:
        laps = max(1, round(num_frames / _FRAMES_PER_LAP))
    elif laps < 1:
        raise ValueError(f'laps is {laps}, expected at least 1')
    scene = scene or RoomScene(room)
    rng = np.random.default_rng([room.seed, SPLITS.index(room.split), 13, seed])
    space = FreeSpace(room)
    stops = [stop for _ in range(laps) for stop in _plan_lap(scene, space, rng)]
    times, states = _timeline(stops, space)
    frames = np.linspace(0, times[-1], num_frames)
    track = np.stack([np.interp(frames, times, column) for column in states.T], axis=1)
    frames_per_step = num_frames / laps / _FRAMES_PER_LAP
    track = _smoothed(room, track, frames_per_step)
    return _poses(track, max(1.0, frames_per_step), rng)


def _plan_lap(
    scene: RoomScene, space: FreeSpace, rng: np.random.Generator
) -> list[tuple[FloatArray, list[FloatArray]]]:
    """Choose viewpoints (3,) and, for each, the points (3,) to look at from there, in order."""
    floor = space.points()
    chosen = rng.choice(len(floor), min(_CANDIDATES, len(floor)), replace=False)
    heights = rng.uniform(1.0, 1.5, len(chosen))
    eyes = np.column_stack([floor[chosen], heights])
    seen, distance = _visibility(scene, eyes, rng)
    good = (seen >= _SEEN) & (distance > _RANGE[0]) & (distance < _RANGE[1])
    # What is never seen well is looked at from where most of it is seen.
    best = seen * np.exp(-np.abs(distance - 2.0))
    hard = ~good.any(axis=0)
    good[best.argmax(axis=0)[hard], np.flatnonzero(hard)] = True
    viewpoints = _cover(good, eyes)
    centers = np.array([o.box.center for o in scene.room.objects])
    owner = best[viewpoints].argmax(axis=0)
    stops = []
    for i, v in enumerate(viewpoints):
        # At each stop also a look at what is seen best from there, though it was seen before.
        extra = np.argsort(-best[v], kind='stable')[:2]
        looked_at = np.union1d(np.flatnonzero(owner == i), extra)
        stops.append((eyes[v], _swept(eyes[v], list(centers[looked_at]))))
    return _toured(stops)


def _cover(good: NDArray[np.bool_], eyes: FloatArray) -> list[int]:
    """Choose rows of ``good`` (eyes, objects) that cover all columns, and some far from those."""
    viewpoints: list[int] = []
    left = np.ones(good.shape[1], bool)
    while left.any():  # greedy set cover
        viewpoints.append(int(good[:, left].sum(axis=1).argmax()))
        left &= ~good[viewpoints[-1]]
    while len(viewpoints) < min(_STOPS, len(eyes)):
        apart = np.linalg.norm(eyes[:, None] - eyes[viewpoints], axis=-1).min(axis=1)
        viewpoints.append(int(apart.argmax()))
    return viewpoints


def _visibility(
    scene: RoomScene, eyes: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Share of each object seen from each eye, and the distance: both (eyes, objects)."""
    points = np.empty((len(scene.room.objects), _SAMPLES, 3))
    for i, o in enumerate(scene.room.objects):
        corners = o.mesh.vertices[o.mesh.triangles].astype(np.float64)  # (T, 3, 3)
        area = np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        picked = corners[rng.choice(len(area), _SAMPLES, p=area / area.sum())]
        points[i] = np.einsum('nk,nki->ni', rng.dirichlet((1, 1, 1), _SAMPLES), picked)
    rays = points[None] - eyes[:, None, None]
    hits = scene.cast(eyes[:, None, None], rays)
    ids = np.array([o.instance_id for o in scene.room.objects])
    # Half of the samples lie on the far side of a convex thing, which then hides itself.
    seen = (scene.triangle_ids[hits.triangle] == ids[:, None]).mean(axis=-1)
    return seen, np.linalg.norm(rays, axis=-1).mean(axis=-1)


def _swept(eye: FloatArray, targets: list[FloatArray]) -> list[FloatArray]:
    """Order targets by heading, starting behind the widest gap, for one sweep of the head."""
    headings = np.array([np.arctan2(t[1] - eye[1], t[0] - eye[0]) for t in targets])
    order = np.argsort(headings, kind='stable')
    gaps = np.diff(headings[order], append=headings[order[0]] + 2 * np.pi)
    order = np.roll(order, -(int(gaps.argmax()) + 1))
    return [targets[i] for i in order]


def _toured(
    stops: list[tuple[FloatArray, list[FloatArray]]],
) -> list[tuple[FloatArray, list[FloatArray]]]:
    """Order stops by always going to the nearest one that is left."""
    tour, left = [stops[0]], stops[1:]
    while left:
        distances = [np.linalg.norm(eye - tour[-1][0]) for eye, _ in left]
        tour.append(left.pop(int(np.argmin(distances))))
    return tour


def _timeline(
    stops: list[tuple[FloatArray, list[FloatArray]]], space: FreeSpace
) -> tuple[FloatArray, FloatArray]:
    """Give times (N,) and states (N, 5): x, y, z, heading, pitch, at an even pace."""
    rows: list[NDArray] = []
    for eye, targets in stops:
        if rows:
            walk = space.walk(rows[-1][:2], eye[:2])[1:-1]
            share = np.linspace(0, 1, len(walk) + 2)[1:-1, None]
            start = np.append(rows[-1][2:], [])
            goal = _gaze(eye, targets[0], start[1])
            rest = start + share * (np.array([eye[2], *goal]) - start)
            rows += list(np.column_stack([walk, rest]))
        for target in targets:
            heading = rows[-1][3] if rows else None
            rows.append(np.array([*eye, *_gaze(eye, target, heading)]))
    states = np.array(rows)
    steps = np.diff(states, axis=0)
    effort = np.hypot(steps[:, 0], steps[:, 1]) / 0.35 + np.abs(steps[:, 3:]).sum(axis=1) / 0.8
    return np.concatenate([[0], np.cumsum(effort + 1e-3)]), states


def _gaze(eye: FloatArray, target: FloatArray, heading: float | None) -> tuple[float, float]:
    """Heading and pitch towards a target; the heading turned by less than pi from the last."""
    away = target - eye
    aim = float(np.arctan2(away[1], away[0]))
    if heading is not None:
        aim = float(heading + np.remainder(aim - heading + np.pi, 2 * np.pi) - np.pi)
    pitch = np.arctan2(away[2], np.hypot(away[0], away[1]))
    return aim, float(np.clip(pitch, -1.0, 0.3))


def _smoothed(room: Room, track: FloatArray, frames_per_step: float) -> FloatArray:
    """Smooth a track (N, 5) over time, less where it would cut a corner of the furniture."""
    gaze = _gaussian(track[:, 3:], max(0.8, 1.2 * frames_per_step))
    sigma = max(1.0, 2.5 * frames_per_step)
    safe = min(0.15, float(clearance(room, track[:, :2]).min()))
    for _ in range(6):
        position = _gaussian(track[:, :3], sigma)
        if clearance(room, position[:, :2]).min() >= safe:
            break
        sigma *= 0.6
    else:
        position = track[:, :3]
    return np.column_stack([position, gaze])


def _gaussian(values: FloatArray, sigma: float) -> FloatArray:
    """Smooth columns (N, C) over the rows, the ends held."""
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode='edge')
    columns = [np.convolve(column, kernel / kernel.sum(), mode='valid') for column in padded.T]
    return np.stack(columns, axis=1)


def _poses(track: FloatArray, frames_per_step: float, rng: np.random.Generator) -> list[FloatArray]:
    """Turn x, y, z, heading, pitch (N, 5) into poses, with the sway of a hand."""
    phase = rng.uniform(0, 2 * np.pi, 4)
    step = np.arange(len(track)) / frames_per_step
    bob = 0.02 * np.sin(0.9 * step + phase[0])
    roll = 0.03 * np.sin(0.31 * step + phase[1]) + 0.015 * np.sin(0.83 * step + phase[2])
    poses = []
    for (x, y, z, heading, pitch), up, turn in zip(track, bob, roll):
        eye = np.array([x, y, z + up])
        flat = np.cos(pitch)
        forward = [flat * np.cos(heading), flat * np.sin(heading), np.sin(pitch)]
        pose = look_at(eye, eye + forward)
        cos, sin = np.cos(turn), np.sin(turn)
        pose[:3, :3] = pose[:3, :3] @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        poses.append(pose)
    return poses
