"""Caches that are built in several processes, and what their files say when they are no good."""

import multiprocessing
import os
import time

import numpy as np
import pytest

from training.data.build import build_files
from training.data.cache_files import list_files, read_arrays, write_arrays


def _build(path, number):
    if number == 0:
        raise ValueError('the first one is bad')
    time.sleep(0.1)
    path.touch()


def test_a_bad_file_is_told_before_all_others_are_built(tmp_path):
    with pytest.raises(ValueError, match='the first one is bad'):
        build_files(_build, [(tmp_path / f'{number}.npz', number) for number in range(40)], 2)
    assert len(list(tmp_path.iterdir())) < 20


def test_files_that_are_there_are_kept_and_so_a_bad_one_is_to_be_deleted(tmp_path, capsys):
    path = tmp_path / '1.npz'
    path.write_bytes(b'cut off')
    build_files(_build, [(path, 1), (tmp_path / '2.npz', 2)], 1)
    assert path.read_bytes() == b'cut off'
    assert '1 of 2 files are there already and kept' in capsys.readouterr().out
    advice = r'delete it and build it again with python -m module'
    with pytest.raises(ValueError, match=rf'is no room or is damaged .*: {advice}'):
        read_arrays(path, 'room', {'a'}, 1, 'module')
    np.savez(path, a=1, version=0)
    with pytest.raises(ValueError, match=rf'has version 0, expected 1: {advice}'):
        read_arrays(path, 'room', {'a'}, 1, 'module')


def test_two_jobs_that_write_the_same_file_leave_it_whole(tmp_path, monkeypatch):
    path, replace = tmp_path / 'a.npz', os.replace

    def after_another_job(*paths):
        monkeypatch.setattr(os, 'replace', replace)
        other = multiprocessing.get_context('fork').Process(
            target=write_arrays, args=[path], kwargs={'version': 1, 'a': np.zeros(9)}
        )
        other.start()
        other.join()
        replace(*paths)

    monkeypatch.setattr(os, 'replace', after_another_job)
    write_arrays(path, version=1, a=np.ones(9))
    assert read_arrays(path, 'room', {'a'}, 1, 'module')['a'].sum() == 9
    assert os.listdir(tmp_path) == ['a.npz']


def test_a_write_that_fails_leaves_no_part_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='No space left'):
        write_arrays(tmp_path / 'a.npz', a=np.ones(9))
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        list_files(tmp_path, 'room', 'module')
