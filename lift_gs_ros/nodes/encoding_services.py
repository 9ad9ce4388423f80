"""The services ~/save_encodings and ~/load_encodings of grounding_node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lift_gs_ros.nodes.answering import Answering
from lift_gs_ros.nodes.map_intake import Grounds
from lift_gs_ros.nodes.map_services import map_path

SUFFIX = '.encodings'  # beside the map of the same name


class EncodingServices:
    """Files are written and read in a service's thread; the worker only hands over and takes.

    ``values`` are the parameters of grounding_node; ``ask`` has the worker do a job.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        grounder: Grounds,
        answering: Answering,
        ask: Callable[[Callable[[], Any]], Any],
    ) -> None:
        # No shell has looked at a parameter.
        self._folder = Path(values['map_folder']).expanduser()
        self._max_bytes = 1_000_000 * values['max_encodings_mb']
        self._grounder, self._answering, self._ask = grounder, answering, ask

    def save(self, name: str) -> str:
        """Write what is encoded to a file; returns what was written where."""
        path = map_path(self._folder, name + SUFFIX)
        saved = self._ask(self._grounder.snapshot)
        if not saved.chunks:
            raise ValueError(f'no chunk is encoded: nothing was written to {path}')
        waiting = ', without chunks that wait to be encoded' if self._answering.encoding else ''
        self._folder.mkdir(parents=True, exist_ok=True)
        saved.write(path, self._max_bytes)
        return f'{path}: {saved}{waiting}'

    def load(self, name: str) -> str:
        """Read a file and take encodings from it from now on; returns what it holds."""
        path = map_path(self._folder, name + SUFFIX)
        if not path.is_file():
            raise FileNotFoundError(f'there is no file {path}')
        # Here, not at the top: it imports torch, which a node without a map does not need yet.
        from lift_gs_ros.grounding.encoding_file import EncodingFile

        saved = EncodingFile.read(path, self._max_bytes)
        self._ask(lambda: self._grounder.restore(saved))
        return f'{path}: {saved}, for chunks that are not encoded yet'
