"""The services ~/save_map, ~/load_map and ~/reset of mapping_node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from std_srvs.srv import Trigger

from lift_gs_ros.mapping.map_file import MapFile
from lift_gs_ros.nodes.jobs import Jobs
from lift_gs_ros.nodes.lifecycle import ManagedNode
from lift_gs_ros.nodes.long_calls import Serve
from lift_gs_ros.nodes.mapper import Mapper
from lift_gs_ros.srv import LoadMap, SaveMap

WORKER_SECONDS = 10.0  # the worker may be waiting for a pose


class _Response(Protocol):
    success: bool
    message: str


def map_path(folder: Path, name: str) -> Path:
    """Path of a map's file, in this folder and nowhere else; ValueError for a name that leads out.

    A name comes from anybody on the network.
    """
    if not name or Path(name).name != name or name[0] == '.' or not name.isprintable():
        raise ValueError(
            f'the name of a map is {name[:80]!r}, expected that of a file in {folder}, without '
            'folders and not beginning with a dot'
        )
    path = folder / name
    if path.is_symlink():
        raise ValueError(f'{path} is a symbolic link, expected a file')
    return path


class MapServices:
    """Files are written and read here, between two steps of the worker maps are only swapped."""

    def __init__(
        self,
        node: ManagedNode,
        folder: str,
        mapper: Mapper,
        jobs: Jobs,
        reset: Callable[[], None],
    ) -> None:
        # No shell has looked at a parameter.
        self._folder = Path(folder).expanduser()
        self._mapper, self._jobs, self._new_map = mapper, jobs, reset
        self._node = node

        def answering(serve: Callable[[Any], str], failed: str) -> Serve:
            return lambda request, response: self._answer(response, lambda: serve(request), failed)

        node.serve(
            (Trigger, 'reset', answering(self._reset, 'failed_resets')),
            (SaveMap, 'save_map', answering(self._save, 'failed_saves')),
            (LoadMap, 'load_map', answering(self._load, 'failed_loads')),
        )

    def _answer(self, response: _Response, serve: Callable[[], str], failed: str) -> _Response:
        """Say what was done, or why not, and count that; nothing that is asked may end the node."""
        try:
            if self._node.state != 'active':  # no worker
                raise RuntimeError(f'the node is {self._node.state}')
            response.message = serve()
            response.success = True
        except Exception as error:
            response.message = str(error) or type(error).__name__
            self._node.report.problem(failed, response.message)
        return response

    def _reset(self, _request: Trigger.Request) -> str:
        self._jobs.ask(self._new_map, WORKER_SECONDS)
        return 'new map'

    def _save(self, request: SaveMap.Request) -> str:
        path = map_path(self._folder, request.name)
        saved = self._jobs.ask(self._mapper.map.snapshot, WORKER_SECONDS)
        if not len(saved.codes):
            raise ValueError(f'the map is empty: nothing was written to {path}')
        self._folder.mkdir(parents=True, exist_ok=True)
        replaced = ', in the place of an older one' if path.exists() else ''
        saved.write(path)
        return f'{path}: {saved}{replaced}'

    def _load(self, request: LoadMap.Request) -> str:
        path = map_path(self._folder, request.name)
        if not path.is_file():
            raise FileNotFoundError(f'there is no file {path}')
        saved = MapFile.read(path)
        self._jobs.ask(lambda: self._mapper.restore(saved), WORKER_SECONDS)
        voxel_map = self._mapper.map
        if not voxel_map.evicted_chunks:
            return f'{path}: {saved}'
        return (
            f'{path}: {saved}, of which {voxel_map.evicted_chunks} chunks, those seen longest ago, '
            f'were left out: the map holds max_voxels = {voxel_map.max_voxels}'
        )
