"""Encodings in a file: used for the same points and the same model, and for nothing else."""

import numpy as np
import pytest
import torch
from test_grounder import (  # noqa: F401
    CHUNK_SIZE,
    fill,
    grounder,
    language,
    red_box_on_grey_floor,
    same_answer,
    shipped,
    slab,
)

from lift_gs_ros.archive import write_archive
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.grounding import encoding_file
from lift_gs_ros.grounding.encoding_file import EncodingFile
from lift_gs_ros.grounding.grounder import Grounder
from lift_gs_ros.mapping.chunks import split_into_chunks
from lift_gs_ros.model.lift_gs import LiftGS

LIMIT = 10**8
QUERY = 'the red mug next to the sink'


def again(grounder: Grounder, seed: int = 0) -> Grounder:  # noqa: F811
    """Return another Grounder, with the same weights for the same seed."""
    torch.manual_seed(seed)
    return Grounder(LiftGS(grounder._model.config), grounder._language, grounder.settings)


def count_encodings(grounder: Grounder, monkeypatch) -> list[int]:  # noqa: F811
    """Let a Grounder note the size of every cloud that its network encodes."""
    sizes: list[int] = []
    encode = grounder._model.encode

    def counted(clouds):
        sizes.extend(len(positions) for positions, _ in clouds)
        return encode(clouds)

    monkeypatch.setattr(grounder._model, 'encode', counted)
    return sizes


@pytest.fixture
def saved(grounder, tmp_path):  # noqa: F811
    """A Grounder with a map, and the file of its encodings."""
    fill(grounder, slab())
    grounder.encode()
    path = tmp_path / 'flat.encodings'
    grounder.snapshot().write(path, LIMIT)
    return grounder, path


def test_the_same_chunks_are_not_encoded_again_and_answered_alike(saved, monkeypatch):
    first, path = saved
    second = again(first)
    encoded = count_encodings(second, monkeypatch)
    second.restore(EncodingFile.read(path, LIMIT))
    fill(second, slab())
    answer = second.ground(QUERY)
    assert encoded == []
    assert answer.instances
    expected = first.ground(QUERY)
    assert len(answer.instances) == len(expected.instances)
    for one, other in zip(answer.instances, expected.instances):
        assert (one.phrase, one.is_target) == (other.phrase, other.is_target)
        assert one.score == pytest.approx(other.score, abs=5e-3)
        assert len(np.intersect1d(one.points, other.points)) > 0.95 * len(np.unique(other.points))
    assert not second._saved, 'kept although it has been used'
    second.update((0, 0, 0), PointCloud.empty())
    fill(second, slab())
    second.encode()
    assert len(encoded) == 4, 'each is there once'


def test_what_is_restored_is_what_was_encoded_but_for_half_precision(saved):
    first, path = saved
    second = again(first)
    second.restore(EncodingFile.read(path, LIMIT))
    fill(second, slab())
    second.encode()
    for key, chunk in first._encoded.items():
        one, other = chunk.encoding, second._encoded[key].encoding
        for name in ('origin', 'positions', 'token_positions', 'token_counts'):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        for name in ('features', 'mask_features', 'token_features', 'keys', 'values'):
            torch.testing.assert_close(
                getattr(one, name), getattr(other, name), rtol=2e-3, atol=2e-3, msg=name
            )
        torch.testing.assert_close(one.gaussians.sh, other.gaussians.sh, rtol=2e-3, atol=2e-3)
        assert chunk.num_core == second._encoded[key].num_core


def test_half_precision_leaves_the_answers_of_the_weights_that_ship_what_they_are(
    shipped,  # noqa: F811
    tmp_path,
):
    positions, colors = red_box_on_grey_floor()
    answers = []
    for _ in range(2):
        shipped.update((0, 0, 0), PointCloud(positions, colors))
        answers.append(shipped.ground('the red cube'))
        shipped.snapshot().write(tmp_path / 'box', LIMIT)
        shipped.clear()
        shipped.restore(EncodingFile.read(tmp_path / 'box', LIMIT))
    assert answers[0].instances
    for one, other in zip(*(answer.instances for answer in answers), strict=True):
        assert one.score == pytest.approx(other.score, abs=2e-3)
        assert one.box.iou(other.box) > 0.98
        assert len(one.points) == pytest.approx(len(other.points), rel=0.01)


def test_only_a_chunk_that_has_changed_and_its_neighbours_are_encoded(saved, monkeypatch):
    first, path = saved
    second = again(first)
    encoded = count_encodings(second, monkeypatch)
    second.restore(EncodingFile.read(path, LIMIT))
    cloud = slab()
    key = (0, 0, 0)
    chunk = split_into_chunks(cloud, CHUNK_SIZE)[key]
    inner = (chunk.positions < CHUNK_SIZE / 2 - 0.4).all(axis=1)  # out of every neighbour's halo
    colors = chunk.colors.copy()
    colors[inner] = 0.5
    fill(second, cloud)
    second.update(key, PointCloud(chunk.positions, colors))
    second.encode()
    assert len(encoded) == 1
    assert len(second._saved) == 1, 'what matches no chunk waits'
    second.restore(EncodingFile.read(path, LIMIT))
    second.clear()
    fill(second, cloud)
    second.update(key, PointCloud(chunk.positions + np.float32(0.01), chunk.colors))
    second.encode()
    assert len(encoded) == 1 + 4


def test_a_chunk_that_has_changed_since_is_not_saved(saved):
    first, _ = saved
    key = (0, 0, 0)
    assert len(first.snapshot().chunks) == 4
    first.update(key, PointCloud(first._clouds[key].positions, 1 - first._clouds[key].colors))
    assert len(first.snapshot().chunks) == 3


def test_encodings_of_another_checkpoint_are_refused_and_those_before_kept(saved, tmp_path):
    first, path = saved
    first.restore(EncodingFile.read(path, LIMIT))
    other = again(first, seed=1)
    fill(other, slab())
    other.encode()
    other.snapshot().write(tmp_path / 'other', LIMIT)
    answer = first.ground(QUERY)
    with pytest.raises(ValueError, match='the checkpoint is another one'):
        first.restore(EncodingFile.read(tmp_path / 'other', LIMIT))
    assert len(first._saved) == 4
    assert same_answer(first.ground(QUERY), answer)


@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match='is damaged or is no file of encodings'):
        EncodingFile.read(path, LIMIT)


def test_a_file_with_one_wrong_bit_is_refused(saved):
    _, path = saved
    content = path.read_bytes()
    for position in np.linspace(len(content) // 10, len(content) * 9 // 10, 10).astype(int):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match='damaged'):
            EncodingFile.read(path, LIMIT)


def test_a_file_that_is_too_large_is_neither_read_nor_written(saved):
    first, path = saved
    content = path.read_bytes()
    with pytest.raises(ValueError, match='expected at most 0 MB'):
        EncodingFile.read(path, len(content) - 1)
    with pytest.raises(ValueError, match='nothing was written'):
        first.snapshot().write(path, 1000)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ('name', 'change', 'match'),
    [
        ('000000.keys', lambda a: a[0], 'expected .P, F. and twice'),
        ('000000.keys', lambda a: a.astype(np.float32), 'is float32, expected float16'),
        ('000000.features', lambda a: a * np.float16(np.nan), 'expected float16 and finite'),
        ('fingerprints', lambda a: np.append(a, 'another'), '000004.features'),
        ('version', lambda a: a + 1, 'format version 2, expected 1'),
    ],
)
def test_a_file_with_parts_that_do_not_fit_is_refused_whatever_its_checksum(
    saved, name, change, match
):
    _, path = saved
    with np.load(path) as archive:
        arrays = {n: archive[n] for n in archive.files if n not in ('format', 'checksum')}
    arrays[name] = change(arrays[name])
    write_archive(path, encoding_file.FORMAT, sorted(arrays.items()))
    with pytest.raises(ValueError, match=match):
        EncodingFile.read(path, LIMIT)


def test_parts_of_another_cloud_are_refused(saved):
    first, _ = saved
    [parts, *_] = first.snapshot().chunks.values()
    points = np.zeros((5, 3)), np.zeros((5, 3))
    with pytest.raises(ValueError, match='expected 5 and 1, as the cloud has'):
        first._model.restore(points, *parts)
