"""Caches that are built in several processes, and what their files say when they are no good."""

import time

import numpy as np
import pytest

from training.data.build import build_files
from training.data.cache_files import read_arrays


def _build(path, number):
    if number == 0:
        raise ValueError('the first one is bad')
    time.sleep(0.1)
    path.touch()


def test_a_bad_file_is_told_before_all_others_are_built(tmp_path):
    with pytest.raises(ValueError, match='the first one is bad'):
        build_files(_build, [(tmp_path / f'{number}.npz', number) for number in range(40)], 2)
    assert len(list(tmp_path.iterdir())) < 20


def test_files_that_are_there_are_kept_and_so_a_bad_one_is_to_be_deleted(tmp_path):
    path = tmp_path / '1.npz'
    path.write_bytes(b'cut off')
    build_files(_build, [(path, 1), (tmp_path / '2.npz', 2)], 1)
    assert path.read_bytes() == b'cut off'
    advice = r'delete it and build it again with python -m module'
    with pytest.raises(ValueError, match=rf'is no room or is damaged .*: {advice}'):
        read_arrays(path, 'room', {'a'}, 1, 'module')
    np.savez(path, a=1, version=0)
    with pytest.raises(ValueError, match=rf'has version 0, expected 1: {advice}'):
        read_arrays(path, 'room', {'a'}, 1, 'module')
