"""JSON files that others wrote, with errors that name them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TypeVar

Content = TypeVar('Content', dict, list)


def read_json(path: Path | zipfile.Path, expected: type[Content]) -> Content:
    """Read a file that holds an object (``dict``) or a ``list``.

    Raises ValueError, with the file's name, where it is damaged or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is no JSON file or is cut off ({error}): get it again') from error
    if not isinstance(content, expected):
        names = {dict: 'an object {"name": value}', list: 'a list [...]'}
        raise ValueError(f'{path} holds {str(content)[:80]!r}, expected {names[expected]}')
    return content
