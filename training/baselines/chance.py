"""Chance: a box of some object's size at a random place of the map, whatever was asked for."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np

from lift_gs_ros.geometry import Box, FloatArray, PointCloud
from lift_gs_ros.grounding.grounder import GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.simulation.rooms import make_room

SIZED_ROOMS = 50  # training rooms whose objects lend their sizes: some 650


@cache
def training_sizes(rooms: int = SIZED_ROOMS) -> FloatArray:
    """Edge lengths (n, 3) in metres of the boxes of all objects in the first training rooms."""
    seeds = range(rooms)
    return np.array([o.box.size for seed in seeds for o in make_room(seed, 'train').objects])


class ChanceGrounder:
    """Answers without looking, in the ``Grounder``'s place.

    Every noun phrase gets one instance: the size of a training object, drawn with equal chances,
    around a point of the map, drawn with equal chances; its mask is the map's points inside. Its
    score is uniform in [0, 1], and so is ``none_score``. A query asked again has the same answer,
    another ``seed`` has others.
    """

    def __init__(self, seed: int = 0, settings: GrounderSettings | None = None) -> None:
        self.settings = settings or GrounderSettings()
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Forget the map."""
        self._clouds: dict[ChunkKey, PointCloud] = {}
        self._positions = np.zeros((0, 3), np.float32)

    def update(self, key: ChunkKey, cloud: PointCloud) -> None:
        """Replace the points of a chunk (map frame, metres)."""
        self._clouds[key] = cloud

    def encode(self) -> None:
        """Put the chunks together."""
        clouds = [self._clouds[key] for key in sorted(self._clouds)]
        self._positions = PointCloud.concatenate(clouds).positions

    def ground(self, query: str) -> Grounding:
        """Answer every noun phrase of a query at random."""
        rng = np.random.default_rng([self._seed, zlib.crc32(query.encode())])
        phrases = noun_phrases(query) if len(self._positions) else []
        instances = [
            self._instance(query, phrase, number, rng) for number, phrase in enumerate(phrases)
        ]
        instances.sort(key=lambda instance: (not instance.is_target, -instance.score))
        none_score = 1 - instances[0].score if instances else 1.0
        instances = [i for i in instances if i.score >= self.settings.score_threshold]
        return Grounding(query, 0, self.settings.frame_id, instances, none_score)

    def _instance(
        self, query: str, phrase: Phrase, number: int, rng: np.random.Generator
    ) -> GroundedInstance:
        center = rng.choice(self._positions).astype(np.float64)
        box = Box(center, rng.choice(training_sizes()))
        inside = np.flatnonzero(box.contains(self._positions))
        return GroundedInstance(
            instance_id=number,
            phrase=query[phrase.begin : phrase.end],
            span=(phrase.begin, phrase.end),
            is_target=phrase.is_target,
            score=float(rng.uniform()),
            box=box,
            points=self._positions[inside],
            point_scores=np.ones(len(inside), np.float32),
        )
