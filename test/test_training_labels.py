import numpy as np
import pytest

from training.data.labels import TeacherErrors, imperfect_masks


def _scene() -> np.ndarray:
    instances = np.full((120, 160), -1)
    instances[20:80, 10:60] = 3
    instances[20:80, 60:100] = 7
    instances[100:104, 100:104] = 9  # 16 pixels: under the paper's 1024 at 640x480
    return instances


def test_without_errors_the_masks_are_the_instances_less_the_small_ones():
    semantics, sources = imperfect_masks(
        _scene(), TeacherErrors(0, 0, 0, 0), np.random.default_rng(0)
    )
    assert sorted(sources) == [3, 7]
    for index, source in enumerate(sources):
        assert np.array_equal(semantics == index, _scene() == source)


def test_a_teacher_that_misses_everything_sees_nothing():
    semantics, sources = imperfect_masks(
        _scene(), TeacherErrors(missed=1.0), np.random.default_rng(0)
    )
    assert len(sources) == 0
    assert (semantics == -1).all()


def test_merged_masks_keep_the_larger_name_and_split_ones_share_it():
    rng = np.random.default_rng(0)
    semantics, sources = imperfect_masks(_scene(), TeacherErrors(0, 1.0, 0, 0), rng)
    assert sources.tolist() == [3]
    assert (semantics == 0).sum() == 60 * 90
    semantics, sources = imperfect_masks(_scene(), TeacherErrors(0, 0, 1.0, 0), rng)
    assert sorted(sources) == [3, 3, 7, 7]
    assert set(np.unique(semantics)) == {-1, 0, 1, 2, 3}


def test_ragged_borders_change_few_pixels_and_are_repeatable():
    errors = TeacherErrors(0, 0, 0, ragged=1.0)
    semantics, sources = imperfect_masks(_scene(), errors, np.random.default_rng(4))
    again, _ = imperfect_masks(_scene(), errors, np.random.default_rng(4))
    assert np.array_equal(semantics, again)
    mask = semantics == list(sources).index(3)
    changed = (mask != (_scene() == 3)).mean()
    assert 0.001 < changed < 0.05


def test_probabilities_outside_their_range_are_refused():
    with pytest.raises(ValueError, match='split is 2'):
        TeacherErrors(split=2)
