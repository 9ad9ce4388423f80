import logging
import threading
from collections import Counter

import numpy as np
import pytest
from test_shards import save
from training_rooms import two_boxes

from training.data.load import RoomFiles, open_rooms
from training.data.room_cache import CachedRoom
from training.data.storage import Storage
from training.data.stream import RoomStream


class Reader:
    """Gives rooms of nothing but a name, and counts how often each is asked for."""

    def __init__(self, count: int, bad: tuple[str, ...] = ()) -> None:
        self.asked: Counter[str] = Counter()
        self.files = RoomFiles('here', [f'{i:03d}' for i in range(count)], self._read)
        self._bad = bad

    def _read(self, name: str) -> CachedRoom:
        self.asked[name] += 1
        if name in self._bad:
            raise ValueError(f'{name} was cut off')
        return CachedRoom(name, np.zeros((1, 3)), np.zeros((1, 3)), [])


def drawn(stream: RoomStream, samples: range, seed: int = 0) -> list[str]:
    return [stream.draw(i, np.random.default_rng([seed, i])).name for i in samples]


@pytest.mark.parametrize(('count', 'processes'), [(12, 3), (13, 3), (5, 4)])
def test_processes_share_every_epoch_without_overlap_and_none_is_ever_idle(count, processes):
    streams = [
        RoomStream(Reader(count).files, 1, 1, seed=7, rank=rank, processes=processes)
        for rank in range(processes)
    ]
    turns = 4 * count  # of each process: 4 * processes epochs
    dealt = [[stream.names(turn)[0] for stream in streams] for turn in range(turns)]
    order = [name for turn in dealt for name in turn]
    epochs = [order[begin : begin + count] for begin in range(0, len(order), count)]
    assert len(epochs) == 4 * processes
    assert all(len(set(epoch)) == count for epoch in epochs)  # each room once, by one process
    assert len({tuple(epoch) for epoch in epochs}) > 1  # in another order every time


def test_a_room_leaves_the_buffer_after_its_visit_and_is_read_once_in_it():
    reader = Reader(50)
    stream = RoomStream(reader.files, 4, 8, seed=0)
    for sample in range(8 * 20):
        before = stream.names(sample)
        assert len(set(before)) == 4
        assert stream.draw(sample, np.random.default_rng(sample)).name in before
        assert len(stream._rooms) <= 4  # never more in memory
    assert stream.names(8)[:3] == stream.names(0)[1:]
    assert 16 <= len(reader.asked) <= 24
    assert set(reader.asked.values()) == {1}


def test_what_fits_is_read_once_and_stays():
    reader = Reader(5)
    streams = [RoomStream(reader.files, 3, 1, 0, rank, processes=2) for rank in (0, 1)]
    names = [set(drawn(stream, range(60))) for stream in streams]
    assert names == [{'000', '002', '004'}, {'001', '003'}]
    assert set(reader.asked.values()) == {1}


def test_a_run_that_goes_on_draws_what_an_undisturbed_one_does():
    whole = drawn(RoomStream(Reader(30, ('004',)).files, 5, 6, seed=3), range(100))
    resumed = drawn(RoomStream(Reader(30, ('004',)).files, 5, 6, seed=3), range(57, 100))
    assert resumed == whole[57:]
    other = drawn(RoomStream(Reader(30).files, 5, 6, seed=4), range(100))
    assert other != whole


def test_threads_that_draw_out_of_order_draw_the_same():
    reader = Reader(40)
    stream = RoomStream(reader.files, 6, 4, seed=0)
    found: dict[int, str] = {}

    def work(samples: list[int]) -> None:
        for sample in samples:
            found[sample] = drawn(stream, range(sample, sample + 1))[0]

    samples = list(range(120))
    threads = [threading.Thread(target=work, args=(samples[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = drawn(RoomStream(Reader(40).files, 6, 4, seed=0), range(120))
    assert [found[i] for i in samples] == alone
    assert len(stream._rooms) <= 6


def test_damaged_shards_are_logged_counted_and_left_out(tmp_path, caplog):
    storage = Storage(tmp_path)
    for number in range(4):
        save(storage, f'boxes-{number:04d}', two_boxes(number))
    whole = (tmp_path / 'boxes-0001.tar').read_bytes()
    (tmp_path / 'boxes-0001.tar').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'boxes-0002.tar').write_bytes(whole[:-600] + b'x' * 600)
    stream = RoomStream(open_rooms(str(tmp_path)), 4, 1, seed=0)
    with caplog.at_level(logging.WARNING):
        names = set(drawn(stream, range(30)))
    assert names == {'boxes-0000', 'boxes-0003'}
    assert stream.unreadable == 2
    assert len(caplog.messages) == 2
    assert any('boxes-0001 is left out' in text and 'bytes, expected' in text
               for text in caplog.messages)  # fmt: skip
    assert any('boxes-0002 is left out' in text and 'SHA-256' in text for text in caplog.messages)


@pytest.mark.parametrize('size', [1, 8])  # a stream, and all of them in memory
def test_a_process_whose_rooms_are_all_damaged_takes_others(size):
    reader = Reader(6, ('001', '003', '005'))
    stream = RoomStream(reader.files, size, 1, seed=0, rank=1, processes=2)
    assert set(drawn(stream, range(20))) <= {'000', '002', '004'}


@pytest.mark.parametrize('size', [1, 8])
def test_where_nothing_can_be_read_the_reason_is_said(size):
    stream = RoomStream(Reader(3, ('000', '001', '002')).files, size, 1, seed=0)
    with pytest.raises(ValueError, match='no room of here can be trained on.* was cut off'):
        stream.draw(0, np.random.default_rng(0))


def test_lack_of_memory_blames_no_room_and_stops_every_thread_that_waits():
    def read(name: str) -> CachedRoom:
        raise MemoryError

    stream = RoomStream(RoomFiles('here', ['a'], read), 1, 1, seed=0)
    for _ in range(2):
        with pytest.raises(MemoryError):
            stream.draw(0, np.random.default_rng(0))
    assert stream.unreadable == 0


def test_more_processes_than_rooms_are_refused():
    with pytest.raises(ValueError, match='holds 2 rooms for 3 processes'):
        RoomStream(Reader(2).files, 8, 1, seed=0, rank=0, processes=3)
