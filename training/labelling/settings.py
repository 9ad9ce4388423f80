"""What a labelling job does: everything that its files depend on, and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from training.data.shards import VERSION
from training.data.storage import Storage
from training.teachers.load import TeacherSpec

FILE = 'job.json'


@dataclass(frozen=True)
class JobSettings:
    """Settings of a job."""

    teachers: TeacherSpec
    every: int = 10  # every so many-th frame of a video is labelled; its keyframes make the map
    width: int = 320  # pixels, of the images that are kept; teachers see them as they are
    shard_views: int = 32  # at most, in one shard
    with_depth: bool = False  # keep depth images too, for masks in 3D

    def __post_init__(self) -> None:
        for name in ('every', 'width', 'shard_views'):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')

    def check_in(self, storage: Storage) -> None:
        """Write down what a folder is made with.

        Raises ValueError where it is being made with other settings.
        """
        ours = {'version': VERSION, **asdict(self)}
        try:
            theirs = json.loads(storage.read(FILE))
        except FileNotFoundError:
            storage.write(FILE, json.dumps(ours, indent=1).encode())
            return
        except ValueError as error:
            theirs = error
        if not isinstance(theirs, dict):
            raise ValueError(
                f'{storage.url}/{FILE} is damaged ({theirs}): delete it if its shards were made '
                'with the settings of this job, or use another folder'
            )
        different = [name for name in ours if theirs.get(name) != ours[name]]
        if different:
            name = different[0]
            raise ValueError(
                f'{storage.url} was made with {name} = {theirs.get(name)}, this job has '
                f'{ours[name]}: use the same settings, or another folder'
            )
