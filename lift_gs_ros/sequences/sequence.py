"""What a sequence is: posed RGB-D frames in the order in which they were taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from lift_gs_ros.mapping.frame import RgbdFrame


@runtime_checkable
class Sequence(Protocol):
    """Posed RGB-D frames, recorded or simulated.

    The poses of all frames are in one world frame (metres; z up wherever the source knows what
    up is) and colour is registered to depth.
    """

    name: str
    rate: float  # Hz, frames per second at which it was taken

    def __len__(self) -> int:
        """Return the number of frames, an upper bound where a recording has bad ones."""
        ...

    def __iter__(self) -> Iterator[RgbdFrame]:
        """Yield the frames, each read or rendered only when its turn comes; may be repeated."""
        ...
