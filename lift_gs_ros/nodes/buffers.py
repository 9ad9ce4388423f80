"""The bytes of a message: to assign an array to ``data`` that is not empty would copy it."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from numpy.typing import NDArray


def set_data(message: Any, values: NDArray) -> None:
    """Copy the bytes of an array of any kind to the ``data`` (uint8[]) of a message."""
    message.data = array.array('B')
    message.data.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def make_data(message: Any, size: int) -> NDArray[np.uint8]:
    """Give a message ``size`` bytes of ``data``, all 0, and return them (size,) to be filled."""
    message.data = array.array('B')
    data = message.data
    data.append(0)
    data *= size
    return np.frombuffer(data, np.uint8)
