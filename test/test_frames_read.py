"""The bar of the frames that are read, while a worker is still at them."""

import re
import time
from functools import partial

from recorded_scene import views
from test_pseudolabel import Fickle

from training.data.storage import Storage
from training.labelling import frames_read, steps
from training.labelling.job import run_job
from training.labelling.settings import JobSettings
from training.labelling.workers import in_processes
from training.teachers.load import TeacherSpec

run = partial(in_processes, devices=['cpu'])


class Waiting:
    """Frames of which the second comes when the first is seen in the progress bar."""

    name, rate = 'waiting', 10.0

    def __init__(self, frames, capsys):
        self._frames, self._capsys, self.said = frames, capsys, ''

    def __len__(self):
        return len(self._frames)

    def __iter__(self):
        for number, frame in enumerate(self._frames):
            end = time.monotonic() + 60
            while number == 1 and f' 1/{len(self)} ' not in self.said:
                assert time.monotonic() < end, self.said
                time.sleep(0.01)
                self.said += self._capsys.readouterr().err
            yield frame


def test_progress_is_in_frames_also_of_a_single_long_recording(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(frames_read, 'EVERY', 0.05)
    waiting = Waiting(views(), capsys)
    monkeypatch.setattr(steps, 'open_scene', lambda *_: waiting)
    monkeypatch.setattr(steps, 'load_teacher', lambda *_: Fickle())
    run_job(str(tmp_path), {'long': 'walk'}, JobSettings(TeacherSpec('sam:x'), every=1), run)
    assert re.search(r'prepare:  33%.* 1/3 \[\d+:\d\d<\d+:\d\d, .*frame', waiting.said)
    assert re.search(r'prepare: 100%.* 3/3 \[.*frame', capsys.readouterr().err)
    assert not list(tmp_path.glob('work/*'))


def test_scenes_that_nobody_has_opened_count_as_long_as_the_others(tmp_path):
    storage = Storage(tmp_path)
    frames_read.teller(storage, 'a')(1, 30)  # of a job that was killed
    with frames_read.FramesRead(storage, ['a', 'b', 'c', 'd']) as bar:
        assert storage.names('.frames', 'work') == []
        tell = frames_read.teller(storage, 'a')
        for read in range(1, 10):
            tell(read, 10)
        bar.done('a')  # its last frame was bad
        assert (bar._bar.n, bar._bar.total) == (1, 4)  # it said no more
        tell = frames_read.teller(storage, 'b')
        tell(1, 20)
        tell(20, 20)
        bar.done('b')
        assert (bar._bar.n, bar._bar.total) == (21, 42)
        bar.done('c')  # could not be opened
        assert (bar._bar.n, bar._bar.total) == (21, 28)
