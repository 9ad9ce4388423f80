"""Language features lifted onto map points without any training.

A 2D teacher's masks and captions of a few posed views give every pixel the embedding of its
mask's caption. A map point takes the mean over the views that see it (as in ConceptFusion and
OpenScene), or over the pixels that it would colour as a splat (the splat feature solver's closed
form). A phrase is answered with the points whose feature is nearly as similar to it as the best
point's, part by connected part.

Unlike LIFT-GS, it needs the teacher in every new room (whose time is not measured here, for it is
simulated), and reads nothing of a sentence but its noun phrases, each by itself.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lift_gs_ros.geometry import (
    Box,
    Camera,
    FloatArray,
    PointCloud,
)
from lift_gs_ros.grounding.components import largest_component
from lift_gs_ros.grounding.grounder import GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding, Latency
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.rooms import SPLITS
from training.data.association import regions_of_points
from training.data.labels import TeacherErrors
from training.data.room_cache import fixed_weights
from training.data.rooms import teacher_labels
from training.evaluation.rooms import evaluation_sequence

SOFTNESS = 0.1  # of similarity, around answer_similarity, in which a score goes from 0.27 to 0.73
_ARTICLES = re.compile(r'^(?:(?:the|an?|all|both|every|each)\s+)+', re.IGNORECASE)


@dataclass(frozen=True)
class LiftingSettings:
    """How features are lifted and compared.

    The last three were chosen on 32 val rooms (``--split val --seed 1``). Among shares from 0.6 to
    0.95, 0.75 has the best accuracy for colour-nouns (0.71 at 0.25, the others 0.65 to 0.70); with
    ``min_points`` of 5 it is 0.09 lower; at 0.6, absent and present are told apart best.
    """

    views: int = 8  # posed images of a room that the teacher sees, as many as pretraining has
    aggregation: Literal['projection', 'splat'] = 'projection'
    occlusion_tolerance: float = 0.08  # metres between a visible point and the measured depth
    voxel_size: float = 0.05  # metres, of the map
    relative_threshold: float = 0.75  # points of this share of the best similarity are answered
    min_points: int = 15  # smaller parts of an answer are scraps from the borders of masks
    answer_similarity: float = 0.6  # an answer of this mean similarity has score 0.5

    def __post_init__(self) -> None:
        for name in ('views', 'min_points'):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')
        if self.aggregation not in ('projection', 'splat'):
            raise ValueError(
                f"aggregation is {self.aggregation!r}, expected 'projection' or 'splat'"
            )
        for name in ('occlusion_tolerance', 'voxel_size'):
            if (value := getattr(self, name)) <= 0:
                raise ValueError(f'{name} is {value}, expected a positive number of metres')
        if not 0 < self.relative_threshold <= 1:
            raise ValueError(f'relative_threshold is {self.relative_threshold}, expected (0, 1]')


@dataclass(frozen=True)
class TeacherView:
    """A posed image as a 2D teacher and the depth sensor saw it."""

    camera: Camera
    world_from_camera: FloatArray  # (4, 4)
    depth: NDArray[np.float32]  # (H, W) measured, metres, 0 where unknown
    semantics: NDArray[np.int16]  # (H, W) index of the mask, -1 where the teacher saw none
    captions: list[str]  # of each mask


def teacher_views(room: Room, count: int, errors: TeacherErrors | None = None) -> list[TeacherView]:
    """Label ``count`` evenly spaced frames of those that an evaluation room's map is fused from.

    The room's true instances are only what the teacher is simulated with, as in training.
    """
    sequence = evaluation_sequence(room)
    views = []
    for index in np.linspace(0, len(sequence) - 1, count).round().astype(int).tolist():
        view = sequence.view(index)
        rng = np.random.default_rng([room.seed, SPLITS.index(room.split), 37, index])
        masks, captions = teacher_labels(room, view.instance_ids, errors or TeacherErrors(), rng)
        frame = view.frame
        views.append(
            TeacherView(frame.camera, frame.world_from_camera, frame.depth, masks, captions)
        )
    return views


def lift_features(
    points: NDArray[np.float32],  # (N, 3) metres
    views: list[TeacherView],
    language: LanguageEncoder,
    settings: LiftingSettings,
) -> NDArray[np.float32]:
    """Return a unit feature (N, D) for each point; zeros where no labelled pixel saw it."""
    total = np.zeros((len(points), language.dim), np.float32)
    for view in views:
        if view.captions:
            embeddings = np.stack([embed(text, language) for text in view.captions])
            total += _mask_weights(points, view, settings) @ embeddings
    return _normalised(total)


def embed(text: str, language: LanguageEncoder) -> NDArray[np.float32]:
    """Return the mean of a phrase's centred token embeddings as a unit vector (D,).

    Captions have no article, so that of a phrase is left out.
    """
    noun = _ARTICLES.sub('', text) or text
    return _normalised(language.encode(noun).embeddings.mean(axis=0))


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def _mask_weights(
    points: NDArray[np.float32], view: TeacherView, settings: LiftingSettings
) -> csr_array:
    """How much each mask of a view says about each point: (N, masks).

    The mean of pixels' embeddings is these weights times the masks' embeddings, divided by the
    weights' sums, which a cosine does not depend on.
    """
    if settings.aggregation == 'projection':
        return _by_projection(points, view, settings.occlusion_tolerance)
    return _by_splatting(points, view, settings.voxel_size)


def _by_projection(points: NDArray[np.float32], view: TeacherView, tolerance: float) -> csr_array:
    """One for the mask of the pixel that a point projects to, if the point is visible there."""
    camera, pose = view.camera, view.world_from_camera
    regions = regions_of_points(points, camera, pose, view.depth, view.semantics, tolerance)
    index = np.flatnonzero(regions >= 0)
    ones = np.ones(len(index), np.float32)
    return csr_array((ones, (index, regions[index])), shape=(len(points), len(view.captions)))


def _by_splatting(points: NDArray[np.float32], view: TeacherView, voxel_size: float) -> csr_array:
    """Sums of compositing weights over each mask's pixels: A^T B in the splat feature solver.

    Its closed form is A^T B / A^T 1 (the row-sum preconditioner), with the matrix A of pixels by
    points and the pixels' features B. Pixels without a mask have no feature and are left out.
    """
    labelled = np.flatnonzero(view.semantics.ravel() >= 0)
    mask = view.semantics.ravel()[labelled]
    shape = (view.semantics.size, len(view.captions))
    members = csr_array((np.ones(len(mask), np.float32), (labelled, mask)), shape=shape)
    weights = fixed_weights(points, view.camera, view.world_from_camera, voxel_size)
    return csr_array(weights.T @ members)


class LiftingGrounder:
    """Answers queries about one room in the ``Grounder``'s place."""

    def __init__(
        self,
        views: list[TeacherView],
        language: LanguageEncoder,
        lifting: LiftingSettings | None = None,
        settings: GrounderSettings | None = None,
    ) -> None:
        self.settings = settings or GrounderSettings()
        self.lifting = lifting or LiftingSettings()
        self._views, self._language = views, language
        self.clear()

    @classmethod
    def of_room(
        cls, room: Room, language: LanguageEncoder, lifting: LiftingSettings | None = None
    ) -> LiftingGrounder:
        """Let the teacher look at a room of the benchmark."""
        lifting = lifting or LiftingSettings()
        return cls(teacher_views(room, lifting.views), language, lifting)

    def clear(self) -> None:
        """Forget the map, not the views."""
        self._clouds: dict[ChunkKey, PointCloud] = {}
        self._positions = np.zeros((0, 3), np.float32)
        self._features = np.zeros((0, self._language.dim), np.float32)
        self._encode_ms = 0.0

    def update(self, key: ChunkKey, cloud: PointCloud) -> None:
        """Replace the points of a chunk (map frame, metres)."""
        self._clouds[key] = cloud

    def encode(self) -> None:
        """Lift the views' features onto the map's points."""
        begin = time.perf_counter()
        clouds = [self._clouds[key] for key in sorted(self._clouds)]
        self._positions = PointCloud.concatenate(clouds).positions
        self._features = lift_features(self._positions, self._views, self._language, self.lifting)
        self._encode_ms = 1e3 * (time.perf_counter() - begin)

    def ground(self, query: str) -> Grounding:
        """Answer every noun phrase of a query by itself."""
        begin = time.perf_counter()
        instances: list[GroundedInstance] = []
        for phrase in noun_phrases(query):
            instances += self._instances(query, phrase, len(instances))
        instances.sort(key=lambda instance: (not instance.is_target, -instance.score))
        best = max((i.score for i in instances if i.is_target), default=0.0)
        instances = [i for i in instances if i.score >= self.settings.score_threshold]
        milliseconds = 1e3 * (time.perf_counter() - begin)
        latency = Latency(self._encode_ms, milliseconds, milliseconds)
        frame = self.settings.frame_id
        return Grounding(query, 0, frame, instances, none_score=1.0 - best, latency=latency)

    def _instances(self, query: str, phrase: Phrase, first_id: int) -> list[GroundedInstance]:
        """Return the connected parts of what resembles a phrase, each as an instance."""
        text = query[phrase.begin : phrase.end]
        similarity = self._features @ embed(text, self._language)
        return [
            GroundedInstance(
                instance_id=number,
                phrase=text,
                span=(phrase.begin, phrase.end),
                is_target=phrase.is_target,
                score=self._score(float(similarity[part].mean())),
                box=Box.from_points(self._positions[part]),
                points=self._positions[part],
                point_scores=similarity[part].clip(0, 1),
            )
            for number, part in enumerate(self._parts(similarity), first_id)
        ]

    def _parts(self, similarity: NDArray[np.float32]) -> list[NDArray[np.int64]]:
        """Return the points of each connected part, the largest part first."""
        best = similarity.max(initial=0.0)
        if best <= 0:
            return []
        left = np.flatnonzero(similarity >= self.lifting.relative_threshold * best)
        parts: list[NDArray[np.int64]] = []
        while len(left) and len(parts) < self.settings.max_instances:
            weights = np.ones(len(left), np.float32)
            part = largest_component(self._positions[left], weights, 2.5 * self.lifting.voxel_size)
            if len(part) < self.lifting.min_points:
                break
            parts.append(left[part])
            left = np.delete(left, part)
        return parts

    def _score(self, similarity: float) -> float:
        return float(1 / (1 + np.exp((self.lifting.answer_similarity - similarity) / SOFTNESS)))
