"""Folders of exactly the layouts of data sets, written from a scene of boxes and read back."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from recorded_scene import RECORDING, assert_same_world

from benchmarks.layouts import WRITERS
from benchmarks.layouts.phones import (
    write_arkitscenes,
    write_polycam,
    write_record3d,
    write_scannetpp,
)
from benchmarks.layouts.rendered import (
    write_aria_synthetic,
    write_replica,
    write_scannetpp_dslr,
    write_taskonomy,
)
from lift_gs_ros.geometry import Camera
from lift_gs_ros.sequences import open_sequence
from lift_gs_ros.sequences.trajectory import pose_matrix

# 7-Scenes and TUM: test_sequences.py.
LAYOUTS = sorted(set(WRITERS) - {'7-Scenes', 'TUM RGB-D', 'TUM keyframes'})
# Of a lens, the nearest pixel is taken: half a pixel, a centimetre at 4 m.
RECTIFIED = {'Aria Synthetic Environments': 0.015, 'ScanNet++ DSLR': 0.015}
LOW_CONFIDENCE = ('Polycam', 'Record3D')  # whose writers leave out a strip


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_folder_of_the_layout_reads_back_to_the_same_world(name, tmp_path):
    sequence = open_sequence(WRITERS[name](tmp_path, RECORDING))
    frames = list(sequence)
    assert (len(sequence), sequence.skipped) == (3, 0)
    if name in LOW_CONFIDENCE:
        assert (frames[0].depth[:, :10] == 0).all()
        assert (frames[0].depth[:, 10:] > 0).mean() > 0.99
    assert_same_world(frames, tolerance=RECTIFIED.get(name, 2e-3), colour=4.0)
    stamps = [frame.stamp for frame in frames]
    assert np.allclose(np.diff(stamps) / 1e9, 1 / sequence.rate, rtol=1e-3)


@pytest.mark.parametrize('name', LAYOUTS)
def test_photos_are_told_from_the_frames_of_a_video(name, tmp_path):
    stills = ('Matterport3D', 'Structured3D', 'Taskonomy', 'ScanNet++ DSLR')
    assert open_sequence(WRITERS[name](tmp_path, RECORDING)).stills == (name in stills)


@pytest.mark.parametrize('name', ['ScanNet', 'Polycam', 'ScanNet++ iPhone', 'Record3D'])
def test_where_colour_is_larger_frames_have_the_size_of_depth(name, tmp_path):
    frame = next(iter(open_sequence(WRITERS[name](tmp_path, RECORDING))))
    assert frame.depth.shape == (120, 160)


def test_polycam_without_optimised_poses_has_those_of_arkit(tmp_path):
    path = write_polycam(tmp_path, RECORDING, corrected=False)
    assert_same_world(open_sequence(path), colour=4.0)


def test_raw_arkitscenes_have_their_files_in_the_video_itself(tmp_path):
    path = write_arkitscenes(tmp_path, RECORDING, frames_folder='')
    assert_same_world(open_sequence(path), colour=1.0)


def test_replica_without_a_camera_file_has_that_of_nice_slam(tmp_path):
    quarter = Camera.from_focal(600, 600, 599.5, 339.5, 1200, 680).resized(300, 170)
    room = write_replica(tmp_path, replace(RECORDING, camera=quarter))
    (tmp_path / 'cam_params.json').unlink()
    frame = next(iter(open_sequence(room)))
    expected = Camera.from_focal(150, 150, 149.5, 84.5, 300, 170)
    assert np.allclose(frame.camera.intrinsics, expected.intrinsics)


@pytest.mark.parametrize('device', ['iphone', 'dslr'])
def test_either_device_of_a_scannetpp_scene_can_be_named(device, tmp_path):
    write_scannetpp(tmp_path / 'scene', RECORDING)
    write_scannetpp_dslr(tmp_path / 'scene', RECORDING)
    sequence = open_sequence(tmp_path / 'scene' / device)
    assert (sequence.name, len(list(sequence))) == ('scene', 3)
    assert sequence.rate == (6.0 if device == 'iphone' else 1.0)


def test_taskonomy_is_read_where_omnidata_puts_it(tmp_path):
    write_taskonomy(tmp_path / 'flat', RECORDING)
    for kind in (tmp_path / 'flat').iterdir():
        (tmp_path / kind.name / 'taskonomy').mkdir(parents=True)
        kind.rename(tmp_path / kind.name / 'taskonomy' / 'cauthron')
    sequence = open_sequence(tmp_path / 'rgb' / 'taskonomy' / 'cauthron')
    assert_same_world(sequence, colour=1.0)


def test_matterport_counts_the_centres_of_pixels_from_below(tmp_path):
    # Numbers of a real camera: matterport_camera_intrinsics of the same has them from above.
    house = WRITERS['Matterport3D'](tmp_path, RECORDING)
    conf = house / 'undistorted_camera_parameters' / 'house.conf'
    lines = conf.read_text().splitlines()
    lines[4] = 'intrinsics_matrix 1076.45 0 631.116  0 1077.19 509.202  0 0 1'
    conf.write_text('\n'.join(lines))
    for file in house.glob('undistorted_*_images/*'):
        Image.open(file).resize((1280, 1024)).save(file)
    camera = next(iter(open_sequence(house))).camera
    expected = Camera.from_focal(1076.45, 1077.19, 631.116, 513.798, 1280, 1024)
    assert np.allclose(camera.intrinsics, expected.intrinsics)


def test_aria_cameras_sit_on_the_glasses_as_on_real_ones(tmp_path):
    # T_Device_Camera of a real pair's camera-rgb; every pair differs by some degrees and mm.
    real = pose_matrix(
        [-0.00428072, -0.0118417, -0.00511398, 0.32414, 0.0402123, 0.0410768, 0.944261]
    )
    scene = write_aria_synthetic(tmp_path, RECORDING)
    rows = (scene / 'trajectory.csv').read_text().splitlines()
    rows[1:] = [f'uid,{100_000 * i},-1,0,0,0,0,0,0,1' for i in range(len(rows) - 1)]
    (scene / 'trajectory.csv').write_text('\n'.join(rows))
    for frame in open_sequence(scene):
        assert np.allclose(frame.world_from_camera[:3, 2], real[:3, 2], atol=0.05)
        assert np.allclose(frame.world_from_camera[:3, 3], real[:3, 3], atol=0.005)


def test_an_older_and_an_unpacked_record3d_are_read_too(tmp_path):
    folder = tmp_path / 'unpacked'
    with zipfile.ZipFile(write_record3d(tmp_path, RECORDING)) as archive:
        archive.extractall(folder)
    metadata = json.loads((folder / 'metadata').read_text())
    del metadata['perFrameIntrinsicCoeffs'], metadata['frameTimestamps']
    (folder / 'metadata').write_text(json.dumps(metadata))
    for file in folder.rglob('*.conf'):
        file.unlink()
    frames = list(open_sequence(folder))
    assert_same_world(frames, colour=4.0)
    assert [frame.stamp for frame in frames] == [0, 100_000_000, 200_000_000]


# What a data set's documentation says is not to be read as it is.


def assert_refused(path, words):
    with pytest.raises(ValueError, match=words):
        open_sequence(path)


def test_scannetpp_that_was_not_extracted_says_how_to(tmp_path):
    scene = write_scannetpp(tmp_path, RECORDING)
    (scene / 'iphone' / 'rgb').rename(scene / 'elsewhere')
    assert_refused(scene, 'python -m iphone.prepare_iphone_data')


def test_a_dslr_without_rendered_depth_says_how_to_render_it(tmp_path):
    scene = write_scannetpp_dslr(tmp_path, RECORDING)
    (scene / 'dslr' / 'render_depth').rename(scene / 'elsewhere')
    assert_refused(scene, 'a DSLR measures no depth.*common.render')


@pytest.mark.parametrize(
    ('name', 'numbered'),
    [
        ('ScanNet', 'pose/0.txt'),
        ('Polycam', 'keyframes/corrected_cameras/*.json'),
        ('Structured3D', '2D_rendering/*/perspective/full/0'),
    ],
)
def test_names_that_should_be_numbers_and_are_not_are_said(name, numbered, tmp_path):
    scene = WRITERS[name](tmp_path, RECORDING)
    first = sorted(scene.glob(numbered))[0]
    first.rename(first.with_stem('copy'))
    assert_refused(scene, "is called 'copy', expected a number")


def test_structured3d_panoramas_are_refused(tmp_path):
    (tmp_path / '2D_rendering' / '485142' / 'panorama' / 'full').mkdir(parents=True)
    assert_refused(tmp_path, 'panoramas are not read')


def test_aria_scenes_without_depth_are_refused(tmp_path):
    scene = write_aria_synthetic(tmp_path, RECORDING)
    (scene / 'depth').rename(scene / 'elsewhere')
    assert_refused(scene, 'test split come without')


def test_icl_nuim_with_povray_poses_is_refused(tmp_path):
    (tmp_path / 'scene_00_0000.txt').touch()
    assert_refused(tmp_path, 'TUM RGB-D Compatible PNGs')


def test_record3d_with_exr_depth_is_refused(tmp_path):
    (tmp_path / 'depth').mkdir()
    (tmp_path / 'depth' / '0.exr').touch()
    assert_refused(tmp_path, r'share the \.r3d')
