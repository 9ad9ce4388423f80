"""What is to be done about one scene, and what of it has been done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from lift_gs_ros.sequences import BagTopics
from training.data.shards import from_tar, is_whole, to_tar, write_shard
from training.data.storage import Storage
from training.data.view_files import Files, decode_view

DENSE_CHANNELS = 768  # of CLIP ViT-L/14, as in the paper; 2 bytes each
POSED, LABELLED, MAP = '.posed.tar', '.labelled.tar', 'map.tar'


@dataclass(frozen=True)
class Plan:
    """The views of a scene that are to be labelled, by shard."""

    scene: str
    source: str
    frames: int  # that were read
    unreadable: int  # that could not be
    shards: list[list[str]]  # names of views
    topics: dict[str, str] = field(default_factory=dict)  # of a bag: what was named of BagTopics

    @classmethod
    def read(cls, storage: Storage, scene: str) -> Plan | None:
        """Read the plan of a scene, None where it has not been prepared."""
        try:
            return cls(**json.loads(storage.read(f'plans/{scene}.json')))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def made_from(self, source: str, topics: BagTopics) -> bool:
        """Say whether the scene was read from this source, with these topics named."""
        return (self.source, BagTopics(**self.topics)) == (source, topics)

    def write(self, storage: Storage) -> None:
        """Write it down: the scene is prepared."""
        storage.write(f'plans/{self.scene}.json', json.dumps(asdict(self)).encode())

    def shard_name(self, number: int) -> str:
        """Name of a shard's files."""
        return f'{self.scene}-{number:04d}'


def work_file(scene: str, name: str) -> str:
    """Path of a file that is there until its shard is."""
    return f'work/{scene}/{name}'


def write_work(storage: Storage, scene: str, name: str, samples: Mapping[str, Files]) -> None:
    """Write samples into the scene's working folder."""
    storage.write(work_file(scene, name), to_tar(samples))


def read_work(storage: Storage, scene: str, name: str) -> dict[str, Files]:
    """Read samples from the scene's working folder."""
    return from_tar(storage.read(work_file(scene, name)))


class Progress:
    """How far a scene is; asks the storage once, then keeps count."""

    def __init__(self, storage: Storage, plan: Plan) -> None:
        self.plan = plan
        self._storage = storage
        files = set(storage.names('.tar', f'work/{plan.scene}'))
        self._has_map = MAP in files
        self._posed = {name.removesuffix(POSED) for name in files if name.endswith(POSED)}
        self._labelled = {name.removesuffix(LABELLED) for name in files if name.endswith(LABELLED)}
        self._failed: dict[str, str] = {}
        self._open = {
            number
            for number in range(len(plan.shards))
            if not is_whole(storage, plan.shard_name(number))
        }

    @property
    def views(self) -> int:
        """Views of the scene."""
        return sum(map(len, self.plan.shards))

    @property
    def missing(self) -> list[str]:
        """Views that no teacher has labelled yet."""
        views = [view for number in sorted(self._open) for view in self.plan.shards[number]]
        return [view for view in views if view not in self._labelled]

    @property
    def unprepared(self) -> list[str]:
        """Views that have to be taken from the sequence (again), to be labelled."""
        lost = [view for view in self.missing if view not in self._posed]
        # A shard without its part of the map is as good as one without its views.
        return lost or (self.missing[:1] if self._open and not self._has_map else [])

    def note(self, view: str, error: str) -> None:
        """Note that a view was labelled, or could not be."""
        if error:
            self._failed[view] = error
        else:
            self._labelled.add(view)

    def pack(self) -> int:
        """Write the shards of which all views are done; returns how many views that were."""
        views = 0
        for number in sorted(self._open):
            names = self.plan.shards[number]
            done = [name for name in names if name in self._labelled]
            if not done or not self._failed.keys() | self._labelled >= set(names):
                continue
            self._write(number, done)
            self._open.remove(number)
            views += len(names)
        if not self._open:
            self._storage.remove(f'work/{self.plan.scene}')
        return views

    def _write(self, number: int, names: list[str]) -> None:
        storage, plan = self._storage, self.plan
        views = {}
        for name in names:
            views.update(read_work(storage, plan.scene, name + LABELLED))
        posed = [decode_view(files) for files in views.values()]
        shown = {'chunk_{}_{}_{}'.format(*key) for view in posed for key in view.chunks}
        chunks = read_work(storage, plan.scene, MAP)
        write_shard(
            storage,
            plan.shard_name(number),
            plan.scene,
            {name: files for name, files in chunks.items() if name in shown},
            views,
            {name: self._failed[name] for name in plan.shards[number] if name not in names},
            sum(2 * DENSE_CHANNELS * view.image.shape[0] * view.image.shape[1] for view in posed),
        )
        for name in plan.shards[number]:
            for ending in (POSED, LABELLED):
                storage.remove(work_file(plan.scene, name + ending))
