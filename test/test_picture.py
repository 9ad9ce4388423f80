"""Pictures of the encoded map, with the real network (random weights keep colours as they are)."""

import numpy as np
import pytest
import torch

from lift_gs_ros.geometry import Camera, PointCloud, look_at
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS

CAMERA = Camera.from_focal(60, 60, 39.5, 29.5, 80, 60)


@pytest.fixture(scope='module')
def grounder() -> Grounder:
    """Two walls of 2 m in chunks of their own: a red one at x = 3 and a green one at x = -3."""
    torch.manual_seed(0)
    language = load_language_encoder('minilm')
    model = LiftGS(LiftGSConfig.tiny(language_dim=language.dim))
    grounder = Grounder(model, language, GrounderSettings(chunk_size=2.0, chunk_overlap=0.4))
    y, z = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 0.99, 40), np.linspace(0, 2, 40)))
    for key, x, color in (((1, 0, 0), 2.9, [1, 0, 0]), ((-2, 0, 0), -3.0, [0, 1, 0])):
        positions = np.stack([np.full_like(y, x), y, z], axis=1)
        grounder.update(key, PointCloud(positions, np.tile(np.float32(color), (len(y), 1))))
    grounder.encode()
    return grounder


def middle(grounder: Grounder, target) -> list[int]:
    picture = grounder.render(CAMERA, look_at((0, 0, 1), target))
    assert picture.shape == (60, 80, 3)
    assert picture.dtype == np.uint8
    return picture[30, 40].tolist()


def test_a_camera_sees_what_it_looks_at(grounder):
    red, green, blue = middle(grounder, (1, 0, 1))
    assert red > 180
    assert max(green, blue) < 40
    red, green, blue = middle(grounder, (-1, 0, 1))
    assert green > 180
    assert max(red, blue) < 40


def test_where_nothing_is_the_background_is_seen(grounder):
    assert middle(grounder, (0, 5, 1)) == [26, 26, 26]


def test_a_picture_that_would_take_too_long_is_refused(grounder):
    with pytest.raises(ValueError, match='1280x960 was asked for, expected at most 307200 pixels'):
        grounder.render(CAMERA.resized(1280, 960), np.eye(4))
