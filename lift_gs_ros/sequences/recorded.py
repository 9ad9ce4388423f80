"""Recorded sequences: what every layout on disk has in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lift_gs_ros.mapping.frame import RgbdFrame

logger = logging.getLogger(__name__)


@dataclass
class RecordedSequence:
    """Frames on disk, each read when its turn comes.

    A frame that cannot be read whole (a file is missing or truncated, the pose holds NaN or inf) is
    left out: logged with the reason, and counted in ``skipped`` for the iteration under way.
    """

    name: str
    rate: float  # frames per second at which the sequence was recorded
    readers: Sequence[tuple[str, Callable[[], RgbdFrame]]]  # a frame's name, and how to read it
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
    return np.asarray(_decode(path).convert('RGB'))


def read_depth(path: Path) -> NDArray[np.uint16]:
    """Read a 16-bit PNG (H, W) as it is, uint16."""
    image = _decode(path)
    if image.mode not in ('I;16', 'I;16B', 'I'):  # depends on Pillow's version
        raise ValueError(f'{path} is an image of mode {image.mode}, expected 16-bit grey depth')
    return np.asarray(image).astype(np.uint16)


def _decode(path: Path) -> Image.Image:
    with path.open('rb') as file:
        try:
            image = Image.open(file)
            image.load()
        except Exception as error:  # Pillow raises OSError, SyntaxError, EOFError, struct.error ...
            raise ValueError(
                f'{path} cannot be decoded ({type(error).__name__}: {error}), '
                'expected a whole PNG or JPEG image'
            ) from error
    return image
