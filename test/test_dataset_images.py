"""Images that a recording misses, or has twice: which of them make a frame."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from recorded_scene import FIVE, RECORDING, assert_same_world
from test_datasets import RECTIFIED

from benchmarks.layouts import WRITERS
from benchmarks.layouts.cameras import write_open3d
from lift_gs_ros.sequences import open_sequence


@pytest.mark.parametrize('missing', [['image'], ['depth'], ['image', 'depth']])
@pytest.mark.parametrize('number', [0, 1, 4])
def test_a_missing_image_costs_its_frame_and_moves_no_other(number, missing, tmp_path, caplog):
    write_open3d(tmp_path, replace(RECORDING, poses=FIVE))
    for kind in missing:
        (file,) = (tmp_path / kind).glob(f'0000{number}.*')
        file.unlink()
    if (number, len(missing)) == (0, 2):  # then nothing says that there was a frame 0
        with pytest.raises(
            ValueError, match=r'names frame 5, expected one of the 4 .*first or last'
        ):
            open_sequence(tmp_path)
        return
    sequence = open_sequence(tmp_path)
    assert_same_world(sequence, [*FIVE[:number], *FIVE[number + 1 :]], colour=4.0)
    assert sequence.skipped == 1
    what = ' and '.join({'image': 'colour', 'depth': 'depth'}[kind] for kind in missing)
    assert f'its {what} is missing' in caplog.text


def test_images_that_are_named_by_their_stamps_go_together_in_their_order(tmp_path):
    write_open3d(tmp_path, RECORDING)
    for late, kind in enumerate(('image', 'depth')):
        for number, file in enumerate(sorted((tmp_path / kind).iterdir())):
            file.rename(file.with_stem(f'{1_500_000_000_000 + 33_367 * number + late}'))
    assert_same_world(open_sequence(tmp_path), colour=4.0)
    min((tmp_path / 'depth').iterdir()).unlink()
    with pytest.raises(ValueError, match='3 colour and 2 depth images whose names do not say'):
        open_sequence(tmp_path)


def test_every_fifth_image_of_a_redwood_scan_is_counted_by_fives(tmp_path):
    write_open3d(tmp_path, replace(RECORDING, poses=FIVE))
    for kind in ('image', 'depth'):
        for number, file in enumerate(sorted((tmp_path / kind).iterdir())):
            stamp = 166_830 * number + len(kind)  # colour and depth have each their own
            file.rename(file.with_stem(f'{5 * number + 1:07d}-{stamp:012d}'))
    sorted((tmp_path / 'image').iterdir())[1].unlink()
    sequence = open_sequence(tmp_path)
    assert_same_world(sequence, [FIVE[0], *FIVE[2:]], colour=4.0)
    assert sequence.skipped == 1


def test_numbers_that_do_not_count_the_frames_are_taken_in_their_order(tmp_path):
    write_open3d(tmp_path, RECORDING)
    for kind in ('image', 'depth'):
        for number, file in zip((3, 4, 10**15), sorted((tmp_path / kind).iterdir())):
            file.rename(file.with_stem(f'{number:016d}'))
    assert_same_world(open_sequence(tmp_path), colour=4.0)


def two_colours_of_7_scenes(path):
    for file in path.glob('*.color.png'):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file.with_suffix('.jpg'))


def two_colours_of_open3d(path):
    for file in (path / 'image').glob('*.jpg'):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file.with_suffix('.png'))


def points_beside_point_info(path):
    shutil.copytree(path / 'point_info', path / 'points')


def held_out_among_the_frames(path):
    file = path / 'dslr' / 'nerfstudio' / 'transforms.json'
    transforms = json.loads(file.read_text())
    transforms['frames'] += transforms['test_frames']
    file.write_text(json.dumps(transforms))


@pytest.mark.parametrize(
    ('name', 'double', 'words'),
    [
        ('7-Scenes', two_colours_of_7_scenes, r'frame-000000 .* 2 more.*\.color\.png'),
        ('Open3D', two_colours_of_open3d, r'00000 .* 2 more.*00000\.jpg'),
        ('Taskonomy', points_beside_point_info, r'point_0_view_0 .* 2 more.*point_info'),
        ('ScanNet++ DSLR', held_out_among_the_frames, r'DSC00000\.JPG .* 0 more'),
    ],
)
def test_of_two_images_of_one_name_the_first_is_taken_with_a_warning(
    name, double, words, tmp_path, caplog
):
    path = WRITERS[name](tmp_path, RECORDING)
    double(path)
    sequence = open_sequence(path)
    frames = list(sequence)
    assert (len(sequence), len(frames), sequence.skipped) == (3, 3, 0)
    assert_same_world(frames, tolerance=RECTIFIED.get(name, 2e-3), colour=4.0)
    assert [frame.stamp for frame in frames] == sorted({frame.stamp for frame in frames})
    assert len(re.findall('more than once', caplog.text)) == 1
    assert re.search(words, caplog.text)
