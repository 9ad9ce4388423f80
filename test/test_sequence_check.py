"""The verdicts of ``lift-gs sequences check`` on recordings right, and wrong in one way."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from box_scenes import FLOOR, WALL, render

from lift_gs_ros import cli
from lift_gs_ros.geometry import Box, Camera, look_at
from lift_gs_ros.sequences import open_sequence, seven_scenes
from lift_gs_ros.sequences.check import check_sequence

DATA = Path(__file__).parents[2] / 'shared' / 'data'
REDKITCHEN, CABINET = DATA / '7scenes_redkitchen', DATA / 'tum_fr3_cabinet'
CAMERA = Camera.from_focal(190, 190, 99.5, 74.5, 200, 150)
THINGS = [
    (Box.from_corners((x, y, -1.0), (x + 0.4, y + 0.3, top)), color)
    for x, y, top, color in [
        (-1.6, 2.6, 0.4, (200, 20, 20)),
        (-0.7, 2.0, -0.4, (20, 20, 200)),
        (0.2, 2.9, 0.1, (20, 160, 20)),
        (1.1, 2.2, -0.2, (220, 220, 30)),
    ]
]
FRAMES = [
    render(
        [WALL, FLOOR, *THINGS],
        look_at((x, 0.3 * np.sin(2 * x), 0.5), (0.5 * x, 3, -0.4)),
        stamp=i * 100_000_000,
        camera=CAMERA,
    )
    for i, x in enumerate(np.linspace(-1.0, 1.0, 14))
]


@dataclass
class Changed:
    """A sequence with something done to every frame."""

    frames: object
    change: object
    name: str = 'changed'
    rate: float = 10.0

    def __len__(self):
        return len(self.frames)

    def __iter__(self):
        return map(self.change, self.frames)


def right(frame):
    return frame


def posed(change):
    return lambda frame: replace(frame, world_from_camera=change(frame.world_from_camera))


def scaled(factor):
    return lambda frame: replace(frame, depth=frame.depth * np.float32(factor))


def shifted(frame):
    offset = frame.camera.width // 32, frame.camera.width // 40
    return replace(frame, color=np.roll(frame.color, offset, (0, 1)))


def half_intrinsics(frame):
    """The calibration of an image of twice the size."""
    double = frame.camera.resized(2 * frame.camera.width, 2 * frame.camera.height)
    camera = replace(frame.camera, intrinsics=double.intrinsics)
    return replace(frame, camera=camera)


def turned_about(frame):
    return frame @ np.diag([1.0, -1, -1, 1])


def on_its_side(pose):
    return np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]) @ pose


def trembling(pose):
    """Poses that belong to other images, as with a wrong clock."""
    moved = pose.copy()
    moved[:3, 3] += 0.5 * np.sin(1e3 * pose[:3, 3])
    return moved


CASES = [
    (right, None, ''),
    (posed(np.linalg.inv), 'poses', 'if the poses are inverted'),
    (posed(turned_about), 'poses', 'axes are those of OpenGL'),
    (scaled(5), 'poses', 'if depth is 5 times too large'),
    (scaled(0.2), 'poses', 'if depth is 5 times too small'),
    (scaled(1000), 'depth', 'the unit is wrong'),
    (shifted, 'registration', 'it is not registered'),
    (half_intrinsics, 'intrinsics', 'an image of another size'),
    (posed(on_its_side), 'up', 'on its side'),
    (posed(trembling), 'poses', 'no less than if the camera had not moved'),
    (scaled(0), 'depth', 'only 0%'),
]


@pytest.mark.parametrize(('change', 'about', 'words'), CASES)
def test_what_is_wrong_is_said_in_words(change, about, words):
    report = check_sequence(Changed(FRAMES, change))
    wrong = {finding.about: finding.words for finding in report.findings if not finding.good}
    if about is None:
        assert report.good, str(report)
        assert not wrong
        return
    assert not report.good
    assert words in wrong[about]


def test_a_camera_that_stands_still_leaves_the_poses_open():
    report = check_sequence(Changed(FRAMES[:1] * 5, right))
    assert {f.about: f.good for f in report.findings}['poses'] is None
    assert report.good


def test_the_picture_shows_what_is_wrong():
    right_picture = np.asarray(check_sequence(Changed(FRAMES, right)).picture(), int)
    wrong_picture = np.asarray(check_sequence(Changed(FRAMES, posed(np.linalg.inv))).picture(), int)
    assert right_picture.shape == wrong_picture.shape
    height, width = right_picture.shape[0] // 2, right_picture.shape[1] // 2

    def green(picture):  # of the agreement of two frames, top right
        red, green, blue = np.moveaxis(picture[:height, width:], -1, 0)
        return ((green > red + 30) & (green > blue + 30)).mean()

    assert green(right_picture) > 2 * green(wrong_picture)


def test_the_picture_shows_that_colour_is_not_registered():
    def red_on_outlines(change) -> float:
        picture = np.asarray(check_sequence(Changed(FRAMES, change)).picture(), np.float32)
        drawing = picture[: picture.shape[0] // 2, : picture.shape[1] // 2]  # top left
        red = drawing[..., 0] > drawing[..., 1] + 100
        assert 0.002 < red.mean() < 0.1  # lines
        # Beside a line that follows an outline one side is darker than the other.
        grey = np.where(red, np.nan, drawing[..., 1])
        before, behind = grey[:, :-12], grey[:, 12:]
        return np.nanmedian(np.abs(before - behind)[red[:, 6:-6]])

    assert red_on_outlines(right) > red_on_outlines(shifted) + 20  # of 255


def test_no_frame_at_all_is_said(tmp_path):
    with pytest.raises(ValueError, match='no frame could be read'):
        check_sequence(Changed([], right))


def write_seven_scenes(folder, change):
    from PIL import Image

    for i, frame in enumerate(map(change, FRAMES)):
        stem = folder / f'frame-{i:06d}'
        Image.fromarray(frame.color).save(f'{stem}.color.png')
        Image.fromarray(np.round(frame.depth * 1000).astype(np.uint16)).save(f'{stem}.depth.png')
        np.savetxt(f'{stem}.pose.txt', frame.world_from_camera)
    np.savetxt(folder / 'camera-intrinsics.txt', CAMERA.intrinsics)


@pytest.mark.parametrize(('change', 'verdict'), [(right, 'good'), (posed(np.linalg.inv), 'WRONG')])
def test_the_command_prints_a_verdict_and_draws_a_picture(change, verdict, tmp_path, capsys):
    folder = tmp_path / 'recording'
    folder.mkdir()
    write_seven_scenes(folder, change)
    status = cli.main(['sequences', 'check', str(folder), '--out', str(tmp_path / 'out')])
    printed = capsys.readouterr().out
    assert re.search(rf'^poses +{verdict} ', printed, re.MULTILINE)
    assert (status == 1) == ('WRONG' in printed)
    assert (tmp_path / 'out' / 'check.png').stat().st_size > 10_000


# Real recordings, where they are.

REAL_CASES = [
    (right, None),
    (posed(np.linalg.inv), 'poses are inverted'),
    (scaled(5), 'depth is 5 times too large'),
    (shifted, 'it is not registered'),
]


@pytest.mark.skipif(not CABINET.exists(), reason='the TUM sample is not here')
@pytest.mark.parametrize(('change', 'words'), REAL_CASES)
def test_verdicts_on_the_real_cabinet(change, words):
    report = check_sequence(Changed(open_sequence(CABINET), change))
    assert report.good == (words is None), str(report)
    assert words is None or words in str(report)


@pytest.mark.skipif(not REDKITCHEN.exists(), reason='the 7-Scenes sample is not here')
@pytest.mark.parametrize(('change', 'words'), REAL_CASES)
def test_verdicts_on_the_real_kitchen(change, words):
    report = check_sequence(Changed(open_sequence(REDKITCHEN), change))
    assert report.good == (words is None), str(report)
    assert words is None or words in str(report)


@pytest.mark.skipif(not REDKITCHEN.exists(), reason='the 7-Scenes sample is not here')
def test_the_kitchen_as_it_was_recorded_is_not_registered():
    raw = seven_scenes.open_seven_scenes(REDKITCHEN, registered=True)
    assert 'colour fits depth only when 1.1 times as large' in str(check_sequence(raw))
