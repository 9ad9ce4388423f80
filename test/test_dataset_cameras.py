"""Cameras that readers have as constants, held against numbers from elsewhere.

The writers in ``benchmarks/layouts/`` take these constants from the readers, so that a folder that
they write reads back to the same world whatever the constants say.
"""

import math

import numpy as np
import pytest
from recorded_scene import RECORDING
from scipy.spatial.transform import Rotation
from test_sequences import save_image, write_seven_scenes

from benchmarks.layouts import WRITERS
from lift_gs_ros.sequences import aria_synthetic, open_sequence, seven_scenes


def camera_of(path):
    camera = next(iter(open_sequence(path))).camera
    assert (camera.width, camera.height) == (640, 480)
    return [camera.intrinsics[i] for i in ((0, 0), (1, 1), (0, 2), (1, 2))]


@pytest.mark.parametrize(
    ('folder', 'expected'),
    [
        # ORB-SLAM2's Examples/RGB-D/TUM1.yaml, TUM2.yaml and TUM3.yaml.
        ('rgbd_dataset_freiburg1_desk', [517.306408, 516.469215, 318.643040, 255.313989]),
        ('rgbd_dataset_freiburg2_xyz', [520.908620, 521.007327, 325.141442, 249.701764]),
        ('rgbd_dataset_freiburg3_cabinet', [535.4, 539.2, 320.1, 247.6]),
        # The data set's page on the Kinect's intrinsic calibration.
        ('my_own_kinect', [525.0, 525.0, 319.5, 239.5]),
    ],
)
def test_tum_rigs_have_the_intrinsics_that_slam_systems_use(folder, expected, tmp_path):
    (tmp_path / folder).mkdir()
    path = WRITERS['TUM RGB-D'](tmp_path / folder, RECORDING)
    assert camera_of(path) == pytest.approx(expected, abs=0.05)


def test_tum_depth_has_5000_units_a_metre_and_0_is_unknown(tmp_path):
    path = WRITERS['TUM RGB-D'](tmp_path, RECORDING)
    raw = np.full((480, 640), 10_000, np.uint16)  # the page: 5000 is a metre, 10000 are two
    raw[:100] = 0
    for file in (path / 'depth').iterdir():
        save_image(file, raw)
    depth = next(iter(open_sequence(path))).depth
    assert set(np.unique(depth[:100])) == {0}
    assert np.unique(depth[100:]) == pytest.approx([2.0])


def test_icl_nuim_has_the_camera_of_its_page(tmp_path):
    # K of doc.ic.ac.uk/~ahanda/VaFRIC/codes.html, whose fy is negative: y points up in it.
    page = np.array([[481.20, 0, 319.50], [0, -480.00, 239.50], [0, 0, 1]])
    path = WRITERS['ICL-NUIM'](tmp_path, RECORDING)
    camera = next(iter(open_sequence(path))).camera.resized(640, 480)
    assert np.allclose(camera.intrinsics, np.abs(page))


def test_7_scenes_has_the_depth_camera_of_its_page(tmp_path):
    # "Principle point (320,240), Focal length (585,585)", as kapture's importer quotes it.
    write_seven_scenes(tmp_path)
    assert camera_of(tmp_path) == [585, 585, 320, 240]


@pytest.mark.parametrize('metres', [1.0, 2.0, 4.0])
def test_7_scenes_colour_is_about_where_the_calibration_of_another_kinect_has_it(metres):
    # projet.liris.cnrs.fr/voir/activities-dataset/kinect-calibration.html, as simplerecon's
    # data_scripts/7scenes_preprocessing.py quotes it: colour 525, (320, 240) from its corner.
    turn = np.array(
        [
            [9.9996518012567637e-01, 2.6765126468950343e-03, -7.9041012313000904e-03],
            [-2.7409311281316700e-03, 9.9996302803027592e-01, -8.1504520778013286e-03],
            [7.8819942130445332e-03, 8.1718328771890631e-03, 9.9993554558014031e-01],
        ]
    )
    shift = np.array([-2.5558943178152542e-02, 1.0109636268061706e-04, 2.0318321729487039e-03])
    rows, columns = np.indices((480, 640))
    points = metres * np.stack([(columns - 319.5) / 585, (rows - 239.5) / 585, 1 + 0 * rows], -1)
    x, y, z = np.moveaxis(points @ turn.T + shift, -1, 0)
    theirs = np.stack([525 * x / z + 319.5, 525 * y / z + 239.5], -1)
    # Every pixel's colour says where it is: red and green its column, blue the end of its row.
    places = np.stack([columns % 256, columns // 256, rows % 256], -1).astype(np.uint8)
    depth = np.full((480, 640), metres, np.float32)
    warped, seen = seven_scenes.register_color(places, depth, seven_scenes.DEPTH_CAMERA)
    column = warped[..., 0] + 256.0 * warped[..., 1]
    row = rows + (warped[..., 2] - rows + 128) % 256 - 128
    ours = np.stack([column, row], -1)
    unregistered = np.stack([columns, rows], -1)
    off, before = (np.linalg.norm((a - theirs)[seen], axis=-1) for a in (ours, unregistered))
    assert off.max() < 12
    assert np.median(off) < 6 < 20 < np.median(before)


# projectaria_tools, projects/AriaSyntheticEnvironment/AseCalibrationProvider.cpp, at 704 pixels:
# the focal length, the centre, six radial and two tangential terms of Fisheye624.
ASE = 297.6375381033778, 357.6599197217746, 349.1922497127481
ASE_RADIAL = (
    0.3650890375644368, -0.1738082418112771, -0.7534945484033189, 2.434788882752295,
    -2.57786220300886, 0.8788483538598834,
)  # fmt: skip
ASE_TANGENTIAL = 0.0008005198595407136, -0.000294237814554143


def ase_pixel(x, y, z):
    """Project a point as FisheyeRadTanThinPrism.h there says in its first comment."""
    f, cu, cv = ASE
    p0, p1 = ASE_TANGENTIAL
    a, b = x / z, y / z
    r = math.hypot(a, b)
    angle = math.atan(r)
    bent = angle + sum(k * angle ** (3 + 2 * i) for i, k in enumerate(ASE_RADIAL))
    xr, yr = (bent * a / r, bent * b / r) if r else (0.0, 0.0)
    square = xr * xr + yr * yr
    u = xr + (2 * xr * xr + square) * p0 + 2 * xr * yr * p1
    v = yr + (2 * yr * yr + square) * p1 + 2 * xr * yr * p0
    return f * u + cu, f * v + cv


@pytest.mark.parametrize('point', [(0, 0, 1), (0.5, 0.2, 1), (-1.2, 0.7, 1), (0.1, -3.0, 2.5)])
def test_aria_synthetic_has_the_lens_of_project_aria(point):
    found = aria_synthetic.LENS.project(np.array([point], np.float64))[0]
    assert found == pytest.approx(ase_pixel(*point), abs=1e-4)
    assert (aria_synthetic.LENS.width, aria_synthetic.LENS.height) == (704, 704)


def test_aria_synthetic_has_the_place_of_the_camera_of_project_aria():
    w, x, y, z = 0.9441858687689326, 0.326409343828490850, 0.029274992008313648, 0.0333610599565315
    found = aria_synthetic.DEVICE_FROM_CAMERA
    assert np.allclose(found[:3, :3], Rotation.from_quat([x, y, z, w]).as_matrix(), atol=1e-9)
    place = [-0.007530096566173914, -0.010908549841580260, -0.003598063315542823]
    assert found[:3, 3] == pytest.approx(place, abs=1e-9)
