"""Do units, poses, intrinsics and registration of a recording make sense? In plain words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.keyframes import KeyframeSelector
from lift_gs_ros.sequences.agreement import READINGS, Reading, measure, pairs_of
from lift_gs_ros.sequences.check_picture import draw_check
from lift_gs_ros.sequences.edges import color_shift
from lift_gs_ros.sequences.sequence import Sequence

KEYFRAMES = 20  # that are looked at
FRAMES = 1000  # that are read at most to find them
GOOD_ERROR = 0.025  # median relative difference of depth between frames that agree
ROOM = 0.15, 15.0  # metres, between which the median depth in a building lies
CLEAR = 3.5  # standard deviations by which the shift of colour must stand out
MAX_SHIFT = 0.006  # of the width: 4 pixels of 640
ZOOMS = (0.85, 0.9, 0.95, 1.05, 1.1, 1.15)
_STILL = Reading('the camera stands still', lambda pose: np.eye(4))


@dataclass(frozen=True)
class Finding:
    """What is known about one thing."""

    about: str
    good: bool | None  # None: it cannot be told
    words: str

    def __str__(self) -> str:
        verdict = {True: 'good', False: 'WRONG', None: 'unsure'}[self.good]
        return f'{self.about:13} {verdict:7} {self.words}'


@dataclass(frozen=True)
class Report:
    """Everything that was found, and the frames in which."""

    name: str
    findings: list[Finding]
    frames: list[RgbdFrame]

    @property
    def good(self) -> bool:
        """Whether nothing is known to be wrong."""
        return all(finding.good is not False for finding in self.findings)

    def __str__(self) -> str:
        return '\n'.join([self.name, *map(str, self.findings)])

    def picture(self) -> Image.Image:
        """Draw what to look at (see docs/your_robot.md)."""
        return draw_check(self.frames)


def check_sequence(sequence: Sequence) -> Report:
    """Look at the first keyframes of a sequence; ValueError where there is no frame at all."""
    selector = KeyframeSelector()
    chosen = (
        frame
        for frame in islice(sequence, FRAMES)
        if selector.is_keyframe(frame.stamp, frame.world_from_camera)
    )
    frames = list(islice(chosen, KEYFRAMES))
    if not frames:
        raise ValueError(f'{sequence.name}: no frame could be read, the reasons are logged above')
    poses, up = check_poses(frames), check_up(frames)
    if poses.good is False:
        up = Finding(up.about, None, 'not to be told from wrong poses')
    registration = check_registration(frames)
    findings = [check_depth(frames), check_intrinsics(frames), poses, registration, up]
    return Report(sequence.name, findings, frames)


def check_depth(frames: list[RgbdFrame]) -> Finding:
    """Say whether depth is there, and of the size of a room."""
    depth = np.concatenate([frame.depth[::4, ::4].ravel() for frame in frames])
    known = depth[depth > 0]
    if len(known) < 0.05 * len(depth):
        return Finding('depth', False, f'only {len(known) / len(depth):.0%} of the pixels have it')
    low, median, high = np.percentile(known, [5, 50, 95])
    words = (
        f'{len(known) / len(depth):.0%} of the pixels have it, '
        f'{low:.2f} to {high:.2f} m, median {median:.2f} m'
    )
    if not ROOM[0] < median < ROOM[1]:
        return Finding('depth', False, f'{words}: not the size of a room, so the unit is wrong')
    return Finding('depth', True, words)


def check_intrinsics(frames: list[RgbdFrame]) -> Finding:
    """Say whether the intrinsics may be those of an image of this size."""
    camera = frames[0].camera
    (fx, _, cx), (_, fy, cy) = camera.intrinsics[:2]
    angle = np.degrees(2 * np.arctan(camera.width / 2 / fx))
    words = (
        f'{camera.width}x{camera.height}, fx {fx:.1f} fy {fy:.1f} cx {cx:.1f} cy {cy:.1f}, '
        f'{angle:.0f} degrees wide'
    )
    off = np.abs([cx / camera.width - 0.5, cy / camera.height - 0.5]).max()
    if off > 0.15:
        words += ': the centre is far off the middle, as if for an image of another size'
    elif not 0.9 < fx / fy < 1.1:
        words += ': fx and fy differ as those of no camera'
    elif not 30 < angle < 120:
        words += ': no depth camera has such an angle of view'
    else:
        return Finding('intrinsics', True, words)
    return Finding('intrinsics', False, words)


def check_poses(frames: list[RgbdFrame]) -> Finding:
    """Say whether frames agree, or under which other reading of the conventions they would."""
    pairs = pairs_of(frames)
    if not pairs:
        return Finding('poses', None, 'the camera moves too little to tell')
    known = np.concatenate([frame.depth[frame.depth > 0][::16] for frame in frames])
    if not len(known):
        return Finding('poses', None, 'not to be told without depth')
    sensible = [
        reading
        for reading in READINGS
        if reading.depth_scale == 1 or ROOM[0] < np.median(known) * reading.depth_scale < ROOM[1]
    ]
    as_is = measure(pairs)
    best, reading = max(
        ((measure(pairs, reading), reading) for reading in sensible),
        key=lambda result: result[0].share,
    )
    words = f'where frames overlap, depth differs by {as_is.error:.1%} in the median'
    clearly = best.share > as_is.share + 0.03 and best.error < 0.75 * as_is.error
    if clearly and best.error < GOOD_ERROR:
        return Finding('poses', False, f'{words}, but by {best.error:.1%} if {reading.words}')
    still = measure(pairs, _STILL)
    if still.share > as_is.share - 0.03:
        if as_is.error > GOOD_ERROR:
            return Finding('poses', False, f'{words}, no less than if the camera had not moved')
        return Finding('poses', None, f'{words}; the camera moves too little to tell')
    if as_is.error > GOOD_ERROR:
        return Finding(
            'poses',
            False,
            f'{words}, and no usual convention fits better: look at intrinsics, stamps, and '
            'where the camera sits on the robot',
        )
    return Finding('poses', True, words)


def check_registration(frames: list[RgbdFrame]) -> Finding:
    """Say whether edges of depth lie on edges of colour."""
    width = frames[0].camera.width
    some = frames[:: max(1, len(frames) // 8)]
    shift, clear = color_shift(some)
    if clear < CLEAR:
        zoomed = [(*color_shift(some, zoom), zoom) for zoom in ZOOMS]
        shift_there, clear_there, zoom = max(zoomed, key=lambda result: result[1])
        if clear_there > CLEAR:
            return Finding(
                'registration',
                False,
                f'colour fits depth only when {zoom:g} times as large and moved by '
                f'{-shift_there[0]}, {-shift_there[1]} pixels: it is not registered to depth',
            )
        return Finding('registration', None, 'depth has too few edges that colour has too')
    words = f'colour is {shift[0]}, {shift[1]} pixels (right, down) from depth'
    if np.abs(shift).max() > max(2, MAX_SHIFT * width):
        return Finding('registration', False, f'{words}: it is not registered')
    return Finding('registration', True, words)


def check_up(frames: list[RgbdFrame]) -> Finding:
    """Say whether z is up, taking cameras to be held upright on the whole."""
    up = -np.mean([frame.world_from_camera[:3, 1] for frame in frames], axis=0)
    axis = int(np.abs(up).argmax())
    if np.linalg.norm(up) < 0.3:
        return Finding('up', None, 'the camera is turned every way')
    name = f'{"-" if up[axis] < 0 else "+"}{"xyz"[axis]}'
    if name == '+z':
        return Finding('up', True, 'the world has z up')
    return Finding('up', False, f'the world has {name} up, not z: the map lies on its side')
