"""Weights from this machine only: a folder, or what is in the user's own cache already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def from_local(load: Callable[..., Any], weights: str, what: str, example: str) -> Any:
    """Call a ``from_pretrained`` of transformers on a folder or a name in the Hugging Face cache.

    Raises FileNotFoundError, with what to get and where to put it, where nothing usable is there.
    """
    path = Path(weights).expanduser()
    try:
        return load(str(path) if path.exists() else weights, local_files_only=True)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f'no usable {what} at {weights!r} ({str(error).splitlines()[0]}): on a machine with '
            f'network, run "hf download {example}" (nothing is downloaded here), or copy its files '
            f'into a folder and give the path of that folder'
        ) from error


def check_local(weights: str, what: str, example: str) -> None:
    """Raise as ``from_local`` where there is not even a configuration."""
    from transformers import AutoConfig

    from_local(AutoConfig.from_pretrained, weights, what, example)
