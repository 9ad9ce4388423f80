"""From a labelled scene to one sample: the scene or a part of it, and several queries about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.model.naming import ROOM
from training.data.augment import Augmentation, augment
from training.data.labelled import LabelledScene, Sentence
from training.data.queries import Caption, Query, QueryMix, make_query
from training.data.sample import nearest_on_floor

MIN_POINTS = 10  # of an instance within a crop; a mug has 16 at 5 cm
MIN_SHARE = 0.8  # of an instance's points that a crop must hold for it to be asked for


@dataclass(frozen=True)
class LabelledSampleSettings:
    """How samples are cut from labelled scenes."""

    queries: int = 4  # about one encoding: encoding costs more than decoding
    whole_scene: float = 0.4  # share of samples with the whole scene, the only ones with sentences
    sentences: float = 0.7  # of the queries about whole scenes; the others are categories
    max_phrases: int = 8  # of a sentence; 1 leaves relations to the relation head
    max_points: int = 9_000  # of other samples: those nearest to some thing
    max_instances: int = 8  # captions of one category query, each with all its instances
    query: QueryMix = field(default_factory=QueryMix)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ('queries', 'max_phrases', 'max_points', 'max_instances'):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')
        for name in ('whole_scene', 'sentences'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a share in [0, 1]')


@dataclass(frozen=True)
class LabelledQuery:
    """A query with the instances that it speaks of."""

    query: Query
    instances: NDArray[np.int64]  # (K,)
    satisfied: NDArray[np.bool_]  # (K, phrases)


@dataclass(frozen=True)
class LabelledSample:
    """One training sample."""

    positions: NDArray[np.float32]  # (N, 3) metres, augmented
    colors: NDArray[np.float32]  # (N, 3) in [0, 1]
    instance_ids: NDArray[np.int64]  # (N,) rows of ``captions``; -1 where nothing is labelled
    captions: list[str]
    queries: list[LabelledQuery]  # their instances are rows of ``captions`` too
    name: str


def make_labelled_sample(
    scene: LabelledScene,
    settings: LabelledSampleSettings,
    voxel_size: float,
    rng: np.random.Generator,
) -> LabelledSample:
    """Cut, augment and question a scene; the same generator state gives the same sample."""
    numbers = np.array(sorted(scene.captions), np.int64)
    kinds = [Caption.parse(scene.captions[int(number)]).kind for number in numbers]
    is_thing = np.array([kind not in ROOM for kind in kinds], bool)  # no floor, no wall
    crop, augmentation = np.ones(len(scene.positions), bool), settings.augmentation
    is_whole = rng.uniform() < settings.whole_scene or not len(numbers)
    asks_sentences = is_whole and bool(scene.sentences)
    if not is_whole:
        things = numbers[is_thing] if is_thing.any() else numbers
        own = np.flatnonzero(scene.instance_ids == rng.choice(things))
        center = scene.positions[rng.choice(own)]
        crop = nearest_on_floor(scene.positions, center, settings.max_points)
    before = (scene.instance_ids[:, None] == numbers).sum(axis=0)
    inside = (scene.instance_ids[crop][:, None] == numbers).sum(axis=0)
    # What the crop cuts leaves it altogether: half a chair is neither a chair nor background. But
    # furniture stands on something, and a part of a floor is a floor: that stays.
    is_cut = (inside < MIN_SHARE * before) & is_thing
    crop &= ~np.isin(scene.instance_ids, numbers[is_cut])
    if not crop.any():
        crop[:], is_cut[:] = True, False
    if asks_sentences and rng.uniform() < 0.5:  # mirrored scenes are not asked for left or right
        augmentation = replace(augmentation, mirror=0.0)
    cloud = augment(scene.positions[crop], scene.colors[crop], augmentation, voxel_size, rng)
    ids = scene.instance_ids[crop][cloud.kept]
    counts = (ids[:, None] == numbers).sum(axis=0)
    shown = numbers[(counts >= MIN_POINTS) & ~is_cut]
    row_of = {int(number): row for row, number in enumerate(shown)}
    captions = [scene.captions[number] for number in row_of]
    hardly = [scene.captions[int(n)] for n in numbers[counts > 0] if n not in shown]
    sentences = [
        sentence
        for sentence in scene.sentences
        if not (cloud.mirrored and sentence.is_sided)
        and len(sentence.phrases) <= settings.max_phrases
        and all(i in row_of for own in sentence.instances for i in own)
    ]
    queries = []
    for _ in range(settings.queries):
        if asks_sentences and sentences and rng.uniform() < settings.sentences:
            queries.append(_ask(sentences[rng.integers(len(sentences))], row_of))
        else:
            # What can hardly be seen is not asked for, and neither is it absent.
            views, limit = [captions, hardly], settings.max_instances
            query = make_query(views, captions, settings.query, limit, rng)
            asked = np.flatnonzero(query.satisfied[0].any(axis=1))
            queries.append(LabelledQuery(query, asked, query.satisfied[0][asked]))
    rows = np.full(int(scene.instance_ids.max()) + 1, -1)
    rows[shown] = np.arange(len(shown))
    return LabelledSample(cloud.positions, cloud.colors, rows[ids], captions, queries, scene.name)


def _ask(sentence: Sentence, row_of: dict[int, int]) -> LabelledQuery:
    """Turn a sentence about a scene into a query about the instances that a sample shows."""
    rows = [[row_of[i] for i in own] for own in sentence.instances]
    instances = np.array(sorted({row for own in rows for row in own}), np.int64)
    satisfied = np.zeros((len(instances), len(rows)), bool)
    for phrase, own in enumerate(rows):
        satisfied[:, phrase] = np.isin(instances, own)
    query = Query(
        [sentence.text], [(0, begin, end) for begin, end in sentence.phrases], [satisfied]
    )
    return LabelledQuery(query, instances, satisfied)
