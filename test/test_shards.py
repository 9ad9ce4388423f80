import contextlib
import gzip
import json
import os
import tarfile
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from training_rooms import read_rooms, two_boxes

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.mapping.chunks import split_into_chunks
from training.data.embeddings import captioned
from training.data.load import open_rooms
from training.data.posed_image import PosedImage
from training.data.pseudo_labels import PseudoLabels
from training.data.shards import (
    from_tar,
    is_whole,
    read_room,
    read_samples,
    shard_names,
    to_tar,
    write_shard,
)
from training.data.storage import Storage
from training.data.view_files import (
    LabelledView,
    decode_labels,
    decode_view,
    encode_cloud,
    encode_labels,
    encode_view,
)


def embeddings(count, dim=768):
    found = np.random.default_rng(count).normal(size=(count, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def labelled_views(room=None, with_captions=True):
    """The two views of the room of boxes, with depth and embeddings."""
    views = []
    for number, view in enumerate((room or two_boxes()).views):
        depth = np.full(view.semantics.shape, 1.2345, np.float32)
        depth[0] = 0
        posed = PosedImage(
            'boxes', f'{number:06d}', 10 * number, view.image, depth, view.camera,
            view.world_from_camera, [(0, 0, 0), (-1, 0, 0)],
        )  # fmt: skip
        captions = view.captions if with_captions else None
        views.append(LabelledView(posed, PseudoLabels(view.semantics, captions, embeddings(3))))
    return views


def save(storage, name='boxes-0000', room=None, **options):
    """Write the room of boxes as a shard."""
    room = room or two_boxes()
    clouds = split_into_chunks(PointCloud(room.positions, room.colors), 3.0)
    views = {
        v.view.name: {**encode_view(v.view), **encode_labels(v.labels)}
        for v in labelled_views(room, **options)
    }
    chunks = {'chunk_{}_{}_{}'.format(*key): encode_cloud(part) for key, part in clouds.items()}
    return write_shard(storage, name, 'boxes', chunks, views, {'000002': 'blurred'}, 10**6)


@pytest.fixture(params=['disk', 'memory'])
def storage(request, tmp_path):
    if request.param == 'disk':
        yield Storage(tmp_path / 'cache')
        return
    url = f'memory://{tmp_path.name}'
    yield Storage(url)
    fsspec.filesystem('memory').rm(url, recursive=True)


def test_a_labelled_view_comes_back_as_it_was():
    before = labelled_views()[1]
    files = {**encode_view(before.view), **encode_labels(before.labels)}
    view, labels = decode_view(files), decode_labels(files)
    assert (view.scene, view.name, view.stamp, view.chunks) == (
        'boxes', '000001', 10, [(0, 0, 0), (-1, 0, 0)],
    )  # fmt: skip
    assert np.array_equal(view.world_from_camera, before.view.world_from_camera)
    assert np.array_equal(view.camera.intrinsics, before.view.camera.intrinsics)
    assert np.abs(view.image.astype(int) - before.view.image).mean() < 2  # JPEG
    assert np.allclose(view.depth, before.view.depth, atol=5e-4)
    assert (view.depth[0] == 0).all()
    assert np.array_equal(labels.semantics, before.labels.semantics)
    assert labels.captions == before.labels.captions
    assert np.array_equal(labels.embeddings, before.labels.embeddings)


def test_a_smaller_view_shows_the_same_with_whole_indices():
    before = labelled_views()[0]
    after = before.resized(24)
    assert after.view.image.shape == (18, 24, 3)
    assert after.view.camera.width == 24
    assert set(np.unique(after.labels.semantics)) <= set(np.unique(before.labels.semantics))
    corner = before.view.camera.unproject(np.ones((36, 48)))[0, 0]
    small = after.view.camera.unproject(np.ones((18, 24)))[0, 0]
    pixel = 1 / before.view.camera.intrinsics[0, 0]
    assert np.allclose(small[:2] - corner[:2], 0.5 * pixel)  # centres of pixels twice as wide
    assert before.resized(100) is not None
    assert before.resized(100).view.image.shape == (36, 48, 3)  # never enlarged


def test_a_room_of_shards_is_what_pretraining_had_before(storage):
    room = two_boxes()
    save(storage, room=room)
    found = read_room(storage, 'boxes-0000')
    order, expected = np.lexsort(found.positions.T), np.lexsort(room.positions.T)
    assert np.array_equal(found.positions[order], room.positions[expected])
    assert np.allclose(found.colors[order], room.colors[expected], atol=1 / 255)
    for ours, theirs in zip(found.views, room.views):
        assert ours.captions == theirs.captions
        assert np.array_equal(ours.semantics, theirs.semantics)
        before, after = theirs.weights.sum(axis=1), ours.weights.sum(axis=1)
        assert np.allclose(before, after, atol=1e-3)
    assert np.array_equal(found.views[0].embeddings, embeddings(3))
    assert [room.name for room in read_rooms(storage.url)] == ['boxes-0000']


def test_a_shard_is_a_tar_that_anybody_can_read_and_the_same_every_time(tmp_path):
    storage = Storage(tmp_path)
    first = save(storage)
    with tarfile.open(tmp_path / 'boxes-0000.tar') as tar:
        names = tar.getnames()
    keys = [name.split('.')[0] for name in names]
    assert sorted(set(keys), key=keys.index) == list(dict.fromkeys(keys))
    for key in dict.fromkeys(keys):  # WebDataset wants the files of a sample side by side
        rows = [row for row, other in enumerate(keys) if other == key]
        assert rows == list(range(rows[0], rows[-1] + 1))
    assert {'000000.image.jpg', '000000.semantics.png', '000000.index2semantics.npy'} <= {*names}
    assert save(storage).sha256 == first.sha256
    assert first.bytes_of['index2semantics.npy'] == 2 * (3 * 768 * 2 + 128)
    assert first.skipped == {'000002': 'blurred'}


def test_a_shard_that_was_cut_off_changed_or_not_finished_is_never_taken_for_whole(storage):
    save(storage)
    content = storage.read('boxes-0000.tar')
    # Where a tar is cut between two members, tarfile reads on as if it had ended there.
    cut = 512 * (len(content) // 1024)
    assert from_tar(content[:cut])
    storage.write('boxes-0000.tar', content[:cut])
    assert not is_whole(storage, 'boxes-0000')
    with pytest.raises(ValueError, match=f'has {cut} bytes, expected {len(content)}: run the job'):
        read_rooms(storage.url)
    storage.write('boxes-0000.tar', content[:-5] + b'xxxxx')
    with pytest.raises(ValueError, match='is damaged, its SHA-256 .*: delete it, and run the job'):
        read_rooms(storage.url)
    storage.write('boxes-0000.tar', content)
    assert is_whole(storage, 'boxes-0000')
    about = storage.read('boxes-0000.json')
    storage.write('boxes-0000.json', about[:30])
    with pytest.raises(ValueError, match='json is damaged'):
        read_rooms(storage.url)
    storage.write('boxes-0000.json', b'{"version": 1}')
    assert not is_whole(storage, 'boxes-0000')
    storage.write('boxes-0000.json', json.dumps({**json.loads(about), 'version': 0}).encode())
    with pytest.raises(ValueError, match='has version 0, expected 1'):
        read_rooms(storage.url)
    storage.remove('boxes-0000.json')
    assert shard_names(storage) == []
    with pytest.raises(FileNotFoundError, match='no (shards|cached rooms)'):
        open_rooms(storage.url)


def test_two_members_of_one_name_are_refused():
    once = to_tar({'000000': {'image.jpg': b'first'}, '000001': {'image.jpg': b'other'}})
    assert from_tar(once)['000000'] == {'image.jpg': b'first'}
    end = 2 * tarfile.BLOCKSIZE  # of the first member and its header
    with pytest.raises(ValueError, match=r'000000\.image\.jpg is in a tar twice'):
        from_tar(once[:end] + once)


def test_a_compressed_shard_is_refused_not_unpacked():
    with pytest.raises(tarfile.ReadError):
        from_tar(gzip.compress(to_tar({'a': {'image.jpg': bytes(1000)}})))


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    storage = Storage(tmp_path)
    storage.write('a.tar', b'old')

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        storage.write('a.tar', b'new')
    assert storage.read('a.tar') == b'old'
    assert os.listdir(tmp_path) == ['a.tar']


class RememberingStore(MemoryFileSystem):
    """An object store as two processes see it: each remembers what it has listed, as s3fs does."""

    protocol = 'remembering'
    cachable = False
    store: ClassVar = {}
    pseudo_dirs: ClassVar = ['']

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace('remembering://', 'memory://'))

    def ls(self, path, detail=True, **options):
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True)
        found = self._ls_from_cache(path) or super().ls(path, detail=True)
        return found if detail else [entry['name'] for entry in found]

    def info(self, path, **options):
        path = self._strip_protocol(path)
        found = self._ls_from_cache(path) or []  # raises where its folder was listed without it
        return next((e for e in found if e['name'] == path), None) or super().info(path)

    def _open(self, path, mode='rb', **options):
        if mode == 'rb':
            self.info(path)
        return super()._open(path, mode, **options)


def test_what_another_process_puts_into_a_listed_folder_is_seen():
    fsspec.register_implementation('remembering', RememberingStore, clobber=True)
    ours, theirs = Storage('remembering://labels'), Storage('remembering://labels')
    theirs.write('work/a.labelled.tar', b'a')
    assert ours.names('.tar', 'work') == ['a.labelled.tar']
    theirs.write('work/b.labelled.tar', b'bb')
    assert (ours.read('work/b.labelled.tar'), ours.size('work/b.labelled.tar')) == (b'bb', 2)
    theirs.write('work/b.labelled.tar', b'longer')
    assert (ours.read('work/b.labelled.tar'), ours.size('work/b.labelled.tar')) == (b'longer', 6)
    assert ours.names('.tar', 'work') == ['a.labelled.tar', 'b.labelled.tar']


def test_a_put_that_breaks_off_leaves_nothing_under_its_name(monkeypatch):
    def broken(file, content):
        raise OSError('connection reset')

    monkeypatch.setattr(MemoryFile, 'write', broken)
    storage = Storage('memory://broken')
    with contextlib.suppress(OSError):
        storage.write('a.tar', b'whole')
    assert storage.size('a.tar') in (None, len(b'whole'))
    storage.remove('a.tar')


def test_two_jobs_do_not_write_to_one_folder(tmp_path):
    storage = Storage(tmp_path)
    with storage.lock(), pytest.raises(RuntimeError, match='another job'), storage.lock():
        pass
    with storage.lock():
        pass


def test_what_has_no_captions_is_refused_with_what_to_do(storage):
    save(storage, with_captions=False)
    assert 'captions.json' not in read_samples(storage, 'boxes-0000')['000000']
    room = read_room(storage, 'boxes-0000')
    with pytest.raises(ValueError, match='has no captions in view 0, which pretraining needs'):
        captioned(room)


def test_a_shard_that_shows_nothing_is_refused(storage):
    write_shard(storage, 'empty-0000', 'empty', {}, {}, {'000000': 'no teacher'}, 0)
    with pytest.raises(ValueError, match='empty-0000.tar shows nothing'):
        read_room(storage, 'empty-0000')
