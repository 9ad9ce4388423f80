"""Recorded sequences: what every layout on disk has in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.images import decode_color, decode_depth
from lift_gs_ros.mapping.frame import RgbdFrame

logger = logging.getLogger(__name__)


class FrameReaders(Protocol):
    """Each frame's name, and how to read it: a list, or what finds them as it goes."""

    def __len__(self) -> int:
        """Return the number of frames, or an upper bound."""
        ...

    def __iter__(self) -> Iterator[tuple[str, Callable[[], RgbdFrame]]]:
        """Begin with the first frame, every time."""
        ...


@dataclass
class RecordedSequence:
    """Frames on disk, each read when its turn comes.

    A frame that cannot be read whole (a file is missing or truncated, the pose holds NaN or inf) is
    left out: logged with the reason, and counted in ``skipped`` for the iteration under way.
    """

    name: str
    rate: float  # frames per second at which the sequence was recorded
    readers: FrameReaders = field(repr=False)
    skipped: int = 0

    def __len__(self) -> int:
        """Return the number of frames listed; an iteration yields ``skipped`` fewer."""
        return len(self.readers)

    def __iter__(self) -> Iterator[RgbdFrame]:
        self.skipped = 0
        for name, read in self.readers:
            try:
                frame = read()
            except (OSError, ValueError) as error:
                self.skipped += 1
                logger.warning('%s: frame %s is skipped: %s', self.name, name, error)
                continue
            yield frame


def read_color(path: Path) -> NDArray[np.uint8]:
    """Read an image of any kind as (H, W, 3) uint8, red, green, blue."""
    return decode_color(path.read_bytes(), path)


def read_depth(path: Path) -> NDArray[np.uint16]:
    """Read a 16-bit PNG (H, W) as it is, uint16."""
    return decode_depth(path.read_bytes(), path)
