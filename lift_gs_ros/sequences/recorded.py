"""Recorded sequences: what every layout on disk has in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.images import decode_color, decode_depth, resize_color
from lift_gs_ros.mapping.frame import RgbdFrame

logger = logging.getLogger(__name__)
Item = TypeVar('Item')
MAX_STRETCH = 1.03  # between two sizes of one view: sides are rounded to whole pixels


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
    stills: bool = False  # photos from here and there, not the frames of a video

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
    """Read a PNG or JPEG as (H, W, 3) uint8, red, green, blue."""
    return decode_color(path.read_bytes(), path)


def read_depth(path: Path) -> NDArray[np.uint16]:
    """Read a 16-bit PNG (H, W) as it is, uint16."""
    return decode_depth(path.read_bytes(), path)


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit image (H, W) of masks or confidences."""
    return decode_color(path.read_bytes(), path)[..., 0]


def read_matrix(path: Path, shape: tuple[int, ...]) -> FloatArray:
    """Read numbers from a text file as a matrix; ValueError where there are more or fewer."""
    try:
        return rows_of(path.read_text().split(), shape)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def number_in_name(path: Path) -> int:
    """Return the number that a file or folder is called; ValueError for another name."""
    try:
        return int(path.stem)
    except ValueError as error:
        raise ValueError(f'{path} is called {path.stem!r}, expected a number') from error


def numbers_of(values: Mapping[str, Any], names: str, where: object) -> list[float]:
    """Numbers of a JSON object by their names, separated by blanks; ValueError if one is missing.

    ``where`` says in the error what does not have them.
    """
    try:
        return [float(values[name]) for name in names.split()]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{where} does not say {names}: {error!r}') from error


def array_of(value: Any, shape: tuple[int, ...], what: str) -> FloatArray:
    """Numbers of a JSON file, in lists of any depth, as an array; ValueError that says ``what``."""
    try:
        return rows_of(np.array(value, np.float64).ravel().tolist(), shape)
    except (TypeError, ValueError) as error:
        found, count = str(value)[:80], int(np.prod(shape))
        raise ValueError(f'{what} is {found}, expected {count} numbers') from error


def camera_of(values: Mapping[str, Any], names: str, where: object) -> Camera:
    """Build a pinhole of the numbers under six names: fx fy cx cy width height."""
    fx, fy, cx, cy, width, height = numbers_of(values, names, where)
    return Camera.from_focal(fx, fy, cx, cy, int(width), int(height))


def rows_of(values: Sequence[str | float], shape: tuple[int, ...]) -> FloatArray:
    """Numbers, row by row, as a matrix; ValueError where there are more or fewer."""
    numbers = np.array(values, dtype=np.float64)
    if numbers.size != np.prod(shape):
        raise ValueError(f'it holds {numbers.size} numbers, expected {np.prod(shape)}')
    return numbers.reshape(shape)


def first_of_each(
    items: Iterable[Item], name: Callable[[Item], Hashable], where: object
) -> list[Item]:
    """Keep the first of several items of one name, as of two images of a frame; warns once."""
    kept: dict[Hashable, Item] = {}
    again: list[Item] = []
    for item in items:
        if kept.setdefault(name(item), item) is not item:
            again.append(item)
    if again:
        logger.warning(
            '%s: %s is there more than once (and so are %d more): the first is taken, %s',
            where,
            name(again[0]),
            len({name(item) for item in again}) - 1,
            str(kept[name(again[0])])[:200],
        )
    return list(kept.values())


def fitted_frame(
    stamp: int,
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera: Camera,
    world_from_camera: FloatArray,
) -> RgbdFrame:
    """Build a frame of depth's size where colour, registered to it, or calibration have another.

    Raises ValueError where one of them is of another shape, so that it cannot be the same view.
    """
    height, width = depth.shape
    sizes = {'colour': color.shape[1::-1], 'calibration': (camera.width, camera.height)}
    for what, (other_width, other_height) in sizes.items():
        stretch = other_width * height / (other_height * width)
        if not 1 / MAX_STRETCH < stretch < MAX_STRETCH:
            raise ValueError(
                f'depth is {width}x{height} and {what} {other_width}x{other_height}, expected one '
                'view in two sizes: register depth to colour, or give the camera of these images'
            )
    color = resize_color(color, width, height)
    if (camera.width, camera.height) != (width, height):
        camera = camera.resized(width, height)
    return RgbdFrame(stamp, color, depth, camera, world_from_camera)


def median_rate(stamps: Sequence[float]) -> float:
    """Frames per second of stamps in seconds (NaN: none); 30 where there are too few to say."""
    steps = np.diff(np.array(stamps, np.float64))
    steps = steps[np.isfinite(steps) & (steps > 0)]
    return float(1 / np.median(steps)) if len(steps) else 30.0
