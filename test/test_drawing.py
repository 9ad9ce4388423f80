from dataclasses import replace

import numpy as np
import pytest

from lift_gs_ros import drawing
from lift_gs_ros.geometry import Box, Camera, PointCloud, look_at
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.mapping.frame import RgbdFrame


@pytest.fixture
def frame() -> RgbdFrame:
    """A camera 2 m in front of a grey wall."""
    camera = Camera.from_focal(100, 100, 79.5, 59.5, 160, 120)
    return RgbdFrame(
        stamp=0,
        color=np.full((120, 160, 3), 128, np.uint8),
        depth=np.full((120, 160), 2.0, np.float32),
        camera=camera,
        world_from_camera=look_at([0, -2, 1], [0, 0, 1]),
    )


def answer_at(points: np.ndarray) -> Grounding:
    points = points.astype(np.float32)
    instance = GroundedInstance(
        instance_id=0,
        phrase='the chair',
        span=(0, 9),
        is_target=True,
        score=0.8,
        box=Box.from_points(points),
        points=points,
        point_scores=np.ones(len(points), np.float32),
    )
    return Grounding('the chair', 0, 'map', [instance], none_score=0.2)


def square(y: float) -> np.ndarray:
    x, z = np.meshgrid(np.linspace(-0.2, 0.2, 9), np.linspace(0.8, 1.2, 9))
    return np.stack([x.ravel(), np.full(81, y), z.ravel()], axis=1)


def test_points_behind_the_measured_surface_are_not_visible(frame):
    assert len(drawing.visible_pixels(frame, square(y=0.0))) == 81
    assert len(drawing.visible_pixels(frame, square(y=1.0))) == 0
    assert len(drawing.visible_pixels(frame, square(y=-3.0))) == 0


def test_the_best_view_is_the_frame_that_sees_most_of_the_object(frame):
    away = RgbdFrame(0, frame.color, frame.depth, frame.camera, look_at([0, -2, 1], [0, -4, 1]))
    [view, hidden] = drawing.best_views([away, frame], [square(0.0), square(1.0)])
    assert view is frame
    assert hidden is None


def test_mask_and_box_are_drawn_where_the_object_projects(frame):
    image = drawing.draw_answer(frame, answer_at(square(0.0)))
    offset = image.height - 120  # the caption's strip
    pixels = np.asarray(image)[offset:]
    yellowish = (pixels[..., 0].astype(int) - pixels[..., 2]) > 40
    v, u = np.nonzero(yellowish)
    assert abs(u.mean() - 79.5) < 2
    assert abs(v.mean() - 59.5) < 2
    assert 15 < u.max() - u.min() < 30  # 0.4 m at 2 m with 100 px focal length, plus line width


def test_an_edge_that_passes_behind_the_camera_is_clipped(frame):
    image = drawing.draw_answer(frame, answer_at(np.array([[-0.5, -5, 0.5], [0.5, 1, 1.5]])))
    assert (np.asarray(image)[-120:] != 128).any()


def test_near_points_hide_far_ones(frame):
    near, far = [0, 0, 1], [0, 3, 1]
    red, blue = [1, 0, 0], [0, 0, 1]
    for order in ([0, 1], [1, 0]):
        cloud = PointCloud(np.float32([near, far])[order], np.float32([red, blue])[order])
        image = drawing.render_points(cloud, frame.camera, frame.world_from_camera, 0.05)
        assert image[60, 80].tolist() == [255, 0, 0]


def test_a_mask_hides_the_points_of_the_map_that_it_is_made_of():
    rng = np.random.default_rng(0)
    wall = rng.uniform([-2, 0, 0], [2, 0.01, 2], (4000, 3)).astype(np.float32)
    picture = drawing.draw_map(
        PointCloud(wall, np.full((4000, 3), 0.5)), answer_at(wall), 0.2, 320, 240
    )
    colors = np.asarray(picture)[-240:].reshape(-1, 3)
    assert (colors == drawing.TARGET_COLOR).all(axis=1).sum() > 1000
    assert not (colors == 127).all(axis=1).any()


def test_the_overview_shows_the_whole_map_and_the_mask_in_colour():
    rng = np.random.default_rng(0)
    cloud = PointCloud(rng.uniform([-3, -2, 0], [3, 2, 2], (5000, 3)), np.full((5000, 3), 0.5))
    camera, pose = drawing.overview_camera(cloud, 320, 240)
    image = drawing.render_points(cloud, camera, pose, 0.025)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (border == 250).mean() > 0.95
    assert (image != 250).any(axis=-1).mean() > 0.3
    painted = np.asarray(drawing.draw_map(cloud, answer_at(square(0.0)), 0.05, 320, 240))
    assert (painted == drawing.TARGET_COLOR).all(axis=-1).sum() > 50


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        (answer_at(square(0.0)), '1 found (0.80)'),
        (replace(answer_at(square(0.0)), message='its end was not read'),
         '1 found (0.80); its end was not read'),
        (Grounding('a piano', 0, 'map', none_score=0.93), 'not here (none 0.93)'),
        (Grounding('a piano', 0, 'map', message='no map yet'), 'no map yet'),
    ],
)  # fmt: skip
def test_the_caption_says_what_came_out(answer, words):
    assert words in drawing.caption(answer)
