import numpy as np
import pytest

from lift_gs_ros.annotation import Shown, draw_objects
from lift_gs_ros.geometry import Camera, look_at

CAMERA = Camera.from_focal(100, 100, 79.5, 59.5, 160, 120)
POSE = look_at((0, 0, 1), (2, 0, 1))  # 50 pixels are a metre at 2 m
YELLOW, VIOLET = (250, 220, 0), (70, 10, 90)
GREY = np.full((120, 160, 3), 60, np.uint8)


def thing(color=YELLOW, label='the mug 0.90', y=0.0, z=1.0) -> Shown:
    """A square of 40 cm, two metres ahead; y is to the left, z up."""
    grid = np.meshgrid([2.0], y + np.linspace(-0.2, 0.2, 9), z + np.linspace(-0.2, 0.2, 9))
    return Shown(np.stack(grid, -1).reshape(-1, 3).astype(np.float32), color, label)


def draw(*objects: Shown) -> np.ndarray:
    return draw_objects(GREY, CAMERA, POSE, objects)


def plates(drawn: np.ndarray, color) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of pixels where the plate of a label has its colour: wide runs of it."""
    own = (drawn == color).all(axis=2)
    rows = np.flatnonzero(own.sum(axis=1) > 25)
    return rows, np.flatnonzero(own[rows].any(axis=0))


def test_objects_are_drawn_where_the_camera_sees_them_and_the_image_given_stays_as_it_is():
    before = GREY.copy()
    drawn = draw(thing())
    assert (before == GREY).all()
    assert drawn[60, 80].tolist() == [155, 140, 30]  # in the middle of the mask
    assert (drawn[100:] == 60).all()
    assert (drawn[:, :35] == 60).all()
    assert drawn[55:65, 87:93, 0].max() == 250  # an edge of the box
    rows, columns = plates(drawn, YELLOW)
    assert rows.max() < 52  # the label is above it
    assert columns.mean() == pytest.approx(79.5, abs=3)


@pytest.mark.parametrize('y', [-1.5, 1.5])
@pytest.mark.parametrize('z', [-0.1, 2.1])
def test_a_label_stays_inside_the_image_however_little_of_the_object_is_seen(y, z):
    whole, partly = plates(draw(thing()), YELLOW), plates(draw(thing(y=y, z=z)), YELLOW)
    assert len(partly[1]) >= len(whole[1]) - 1


def test_what_has_no_point_in_the_image_leaves_no_trace():
    behind = Shown(np.array([[-2, 0, 1], [-2.2, 0.1, 1.1]], np.float32), YELLOW, 'x')
    assert (draw(behind, thing(y=3.0), thing(z=4.0)) == GREY).all()


def test_labels_of_things_in_one_place_do_not_cover_each_other():
    drawn = draw(thing(VIOLET), thing())
    unsure, sure = plates(drawn, VIOLET)[0], plates(drawn, YELLOW)[0]
    alone = plates(draw(thing()), YELLOW)[0]
    assert (sure == alone).all()  # the last one has the choice
    assert abs(len(unsure) - len(sure)) <= 3
    assert unsure.max() < sure.min()


def test_text_is_dark_on_light_plates_and_light_on_dark_ones():
    for color, ink in ((YELLOW, 0), (VIOLET, 255)):
        drawn = draw(thing(color))
        rows, columns = plates(drawn, color)
        plate = drawn[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()]
        assert (np.abs(plate.astype(int) - ink).max(axis=2) < 60).sum() > 20


def test_labels_of_several_lines_or_of_any_length_are_written_in_one_line():
    one = plates(draw(thing()), YELLOW)[0]
    for label in ('the\nred\tmug 0.90', 'very ' * 100 + 'long 0.90'):
        rows = plates(draw(thing(label=label)), YELLOW)[0]
        assert abs(len(rows) - len(one)) <= 3
