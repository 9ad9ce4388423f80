"""The answer to a query: instances with masks and boxes, or "there is none here"."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box


@dataclass(frozen=True)
class GroundedInstance:
    """One object that the query mentions."""

    instance_id: int  # stays the same for the same object while the map grows
    phrase: str  # the words of the query that this instance answers; of "everything": its name
    span: tuple[int, int]  # characters [begin, end) of the phrase in the query
    is_target: bool  # the object asked for, not one that is only mentioned
    score: float  # probability in [0, 1]
    box: Box  # map frame, through the extreme corners of the points
    points: NDArray[np.float32]  # (N, 3) the mask: map points of the object, metres
    point_scores: NDArray[np.float32]  # (N,) mask probability of each point


@dataclass(frozen=True)
class Latency:
    """Where the time of one answer went, milliseconds."""

    encode_ms: float = 0.0  # encoding of the chunks that had changed since the last answer
    decode_ms: float = 0.0  # language encoder, mask decoder, boxes
    total_ms: float = 0.0  # from the query's arrival to the answer


@dataclass(frozen=True)
class MapSummary:
    """Which map the answer was computed on."""

    version: int = 0
    voxels: int = 0
    chunks: int = 0
    keyframes: int = 0


@dataclass(frozen=True)
class Grounding:
    """All instances that a query mentions, sorted by score with the targets first."""

    query: str
    stamp: int  # nanoseconds, source stamp of the newest keyframe in the map
    frame_id: str  # map frame
    instances: list[GroundedInstance] = field(default_factory=list)
    none_score: float = 1.0  # probability in [0, 1] that no target of the query is in the map
    message: str = ''  # why there is no answer, or only to a part of the query; empty otherwise
    latency: Latency = field(default_factory=Latency)
    map: MapSummary = field(default_factory=MapSummary)
    basis: Hashable = None  # what it rests on; a query with the same basis has the same answer

    @property
    def targets(self) -> list[GroundedInstance]:
        """The instances asked for, best first."""
        return [instance for instance in self.instances if instance.is_target]

    def to_json(self) -> dict:
        """Plain dictionary in the layout of ``answers.json``."""
        return {
            'query': self.query,
            'stamp': self.stamp,
            'frame_id': self.frame_id,
            'instances': [
                {
                    'id': instance.instance_id,
                    'phrase': instance.phrase,
                    'span': list(instance.span),
                    'is_target': instance.is_target,
                    'score': round(instance.score, 4),
                    'box': {
                        'center': np.round(instance.box.center, 4).tolist(),
                        'size': np.round(instance.box.size, 4).tolist(),
                    },
                    'num_points': len(instance.points),
                }
                for instance in self.instances
            ],
            'none_score': round(self.none_score, 4),
            'message': self.message,
            'latency': {name: round(ms, 2) for name, ms in asdict(self.latency).items()},
            'map': asdict(self.map),
        }
