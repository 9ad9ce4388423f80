"""How many frames have been read: a bar over all scenes, wherever the workers are that read them.

A scene may take hours, and a worker only answers when it is done with it. So it writes down how far
it is where its other files are, which any worker of any machine can, and the job looks there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

from training.data.storage import Storage

ENDING = '.frames'  # of the file in work/ that says "read all" of a scene
EVERY = 1.0  # seconds between two looks, and between two words of a worker


def teller(storage: Storage, scene: str) -> Callable[[int, int], None]:
    """Return what a worker calls after each frame, with how many it has read and how many it will.

    It writes now and then; for the first frame, which says how long the scene is, and the last.
    """
    said = 0.0

    def tell(read: int, frames: int) -> None:
        nonlocal said
        if read < frames and time.monotonic() - said < EVERY:
            return
        storage.write(f'work/{scene}{ENDING}', f'{read} {frames}'.encode())
        said = time.monotonic()

    return tell


class FramesRead:
    """A progress bar in frames, with frames/s and the time left.

    How many there are is known of the scenes that somebody has opened; the others are taken to be
    as long as these are on the average.
    """

    def __init__(self, storage: Storage, scenes: Iterable[str]) -> None:
        self._storage, self._waiting = storage, set(scenes)
        self._scenes, self._done = len(self._waiting), 0
        self._counts: dict[str, tuple[int, int]] = {}  # read, and all
        for scene in self._waiting:  # of a job that was killed
            storage.remove(f'work/{scene}{ENDING}')
        self._bar = tqdm(desc='prepare', unit='frame')
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> FramesRead:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._closed.set()
        self._thread.join()
        self._bar.close()

    def done(self, scene: str) -> None:
        """Count a scene as read, as far as it was."""
        with self._lock:
            self._look(scene)
            self._storage.remove(f'work/{scene}{ENDING}')
            self._waiting.discard(scene)
            self._done += 1
            read, _ = self._counts.get(scene, (0, 0))
            self._counts[scene] = read, read
            self._show()

    def _watch(self) -> None:
        while not self._closed.wait(EVERY):
            with self._lock:
                for name in self._storage.names(ENDING, 'work'):
                    if (scene := name.removesuffix(ENDING)) in self._waiting:
                        self._look(scene)
                self._show()

    def _look(self, scene: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # no job ends for its progress bar
            read, frames = self._storage.read(f'work/{scene}{ENDING}').split()
            self._counts[scene] = int(read), int(frames)

    def _show(self) -> None:
        read = sum(count for count, _ in self._counts.values())
        frames = sum(count for _, count in self._counts.values())
        self._bar.n = read
        if self._counts:
            self._bar.total = round(frames * self._scenes / len(self._counts))
        if self._scenes > 1:
            self._bar.set_postfix_str(f'{self._done} of {self._scenes} scenes', refresh=False)
        self._bar.refresh()
