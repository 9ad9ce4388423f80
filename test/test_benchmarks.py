"""Short forms of benchmarks: that they run and report, not how fast anything is."""

import json
import sys

import pytest


def measures(capsys) -> dict[str, float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == '{']
    return {line['measure']: line['value'] for line in lines}


def test_serving_reports_one_query_against_several_and_what_a_keyframe_costs(monkeypatch, capsys):
    torch = pytest.importorskip('torch')
    pytest.importorskip('open3d', reason='the simulated room needs Open3D')
    from benchmarks import serving

    threads = torch.get_num_threads()
    options = '--chunks 4 --queries 3 --rooms 1 --frames 3 --repeats 1'
    monkeypatch.setattr(sys, 'argv', ['serving', *options.split()])
    try:
        serving.main()
    finally:
        torch.set_num_threads(threads)
    values = measures(capsys)
    assert set(values) == {
        'one query',
        '3 queries at once',
        '3 queries at once against one',
        'a keyframe with 1 standing',
        'a keyframe with 3 standing',
        'a keyframe with 3 standing against 1',
    }
    assert all(value > 0 for value in values.values())


def test_readers_are_timed_on_folders_that_are_written_for_it(monkeypatch, capsys):
    pytest.importorskip('open3d', reason='the simulated room needs Open3D')
    from benchmarks import readers

    options = ['--frames', '2', '--repeats', '1', 'ARKitScenes', 'Record3D']
    monkeypatch.setattr(sys, 'argv', ['readers', *options])
    readers.main()
    values = measures(capsys)
    assert set(values) == {'reader, ARKitScenes', 'reader, Record3D'}
    assert all(value > 0 for value in values.values())
