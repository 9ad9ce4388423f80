"""Teachers by name: ``sam2:path/of/weights`` and the like, from a command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.data.classes.scannet import BENCHMARKS
from training.teachers.labels import (
    CaptionTeacher,
    Embedded,
    EmbeddingTeacher,
    MaskTeacher,
    RegionTeacher,
    Tagger,
    Teacher,
)
from training.teachers.local import check_local
from training.teachers.simulated import SimulatedTeacher, parse_room

MASKS = (
    'sam:WEIGHTS (or mobile_sam.pt), sam2:WEIGHTS, detector:WEIGHTS,SAM_WEIGHTS (Grounding DINO or '
    'OWLv2) or '
    'simulated[:SPLIT/SEED]'
)
TAGS = 'clip:WEIGHTS'
CAPTIONS = 'vlm:WEIGHTS, or clip:WEIGHTS (a noun of the vocabulary, with its colour)'
EMBEDDINGS = 'clip:WEIGHTS, clip_crop:WEIGHTS or clip_masked_crop:WEIGHTS'


@dataclass(frozen=True)
class TeacherSpec:
    """Which teachers, and where their weights are; plain strings, so that it can travel."""

    masks: str
    captions: str = ''  # '': those of the masks' teacher, if it names what it finds
    embeddings: str = ''  # '': none
    vocabulary: str = ''  # nouns: a file, scannet20 or scannet200; '': household things
    tags: str = ''  # which of it a detector looks for in an image; '': for all

    def __post_init__(self) -> None:
        for name, known, what in (
            ('masks', ('sam', 'sam2', 'detector', 'simulated'), MASKS),
            ('tags', ('', 'clip'), TAGS),
            ('captions', ('', 'vlm', 'clip'), CAPTIONS),
            ('embeddings', ('', 'clip', 'clip_crop', 'clip_masked_crop'), EMBEDDINGS),
        ):
            value = getattr(self, name)
            kind, _, weights = value.partition(':')
            if kind not in known or not (weights or kind in ('', 'simulated')):
                raise ValueError(f'{name} teacher is {value!r}, expected {what}')
        if self.tags and not self.masks.startswith('detector'):
            raise ValueError(
                f'tags are what a detector looks for, and the masks are of {self.masks!r}: '
                'expected detector:WEIGHTS,SAM_WEIGHTS with them'
            )
        if self.masks.startswith('simulated') and self.captions:
            raise ValueError('the simulated teacher names what it finds: give it no other captions')


def check_teachers(spec: TeacherSpec, scenes: Iterable[str]) -> None:
    """Raise what ``load_teacher`` would for what is not there, as far as configurations tell.

    Recordings are read for hours before the first teacher is loaded.
    """
    kind, _, weights = spec.masks.partition(':')
    if kind == 'detector':
        from training.teachers import detector

        boxes, weights = _both(weights)
        check_local(boxes, *detector.WHAT)
    if kind != 'simulated':
        from training.teachers.sam import SegmentAnything

        SegmentAnything.check(weights)
    for scene in scenes if spec.masks == 'simulated' else ():
        parse_room(scene)
    if spec.captions.startswith('vlm:'):
        from training.teachers import vlm

        check_local(spec.captions.partition(':')[2], *vlm.WHAT)
    for teacher in (spec.tags, spec.captions, spec.embeddings):
        if teacher.startswith('clip'):
            from training.teachers.clip import find_clip

            find_clip(teacher.partition(':')[2])
    read_vocabulary(spec.vocabulary)


def check_queries(spec: TeacherSpec, queries: str) -> None:
    """Raise ValueError where pretraining would find nothing to ask by in what teachers say.

    ``queries`` is pretraining's ``sample.queries``: 'captions' or 'embeddings'.
    """
    if queries == 'embeddings' and not spec.embeddings:
        raise ValueError(
            f'pretraining is to ask by embeddings, and no teacher gives any: --embeddings '
            f'{EMBEDDINGS}'
        )
    if queries == 'captions' and not spec.captions and spec.masks.startswith('sam'):
        raise ValueError(
            f'pretraining asks by captions, and {spec.masks!r} gives masks without: give '
            f'--captions {CAPTIONS}; or --queries embeddings, where it is to ask by --embeddings '
            'instead (sample.queries=embeddings)'
        )


def load_teacher(spec: TeacherSpec, device: str = 'cpu') -> Teacher:
    """Load the teachers onto a device.

    Raises FileNotFoundError with what to get, and where to put it.
    """
    kind, _, weights = spec.masks.partition(':')
    embeddings = _embeddings(spec.embeddings, device)
    if kind == 'simulated':
        simulated = SimulatedTeacher(weights)
        return Embedded(simulated, embeddings) if embeddings else simulated
    return RegionTeacher(
        _masks(kind, weights, spec, device),
        _captions(spec, device),
        embeddings,
    )


def _masks(kind: str, weights: str, spec: TeacherSpec, device: str) -> MaskTeacher:
    from training.teachers.sam import SegmentAnything

    if kind in ('sam', 'sam2'):
        return SegmentAnything.load(weights, device)
    from training.teachers.detector import GroundedMasks

    detector, sam = _both(weights)
    nouns = read_vocabulary(spec.vocabulary)
    tagger = _tagger(spec.tags, nouns, device)
    return GroundedMasks.load(detector, SegmentAnything.load(sam, device), nouns, device, tagger)


def _both(weights: str) -> tuple[str, str]:
    detector, separator, sam = weights.rpartition(',')
    if not separator:
        raise ValueError(f'detector is {weights!r}, expected WEIGHTS,SAM_WEIGHTS: it needs both')
    return detector, sam


def _tagger(spec: str, vocabulary: list[str], device: str) -> Tagger | None:
    if not spec:
        return None
    from training.teachers.tagger import ClipTagger

    return ClipTagger.load(spec.partition(':')[2], vocabulary, device)


def _captions(spec: TeacherSpec, device: str) -> CaptionTeacher | None:
    if not spec.captions:
        return None
    kind, _, weights = spec.captions.partition(':')
    if kind == 'clip':
        from training.teachers.clip_captions import ClipCaptions

        return ClipCaptions.load(weights, read_vocabulary(spec.vocabulary), device)
    from training.teachers.vlm import VlmCaptions

    return VlmCaptions.load(weights, device)


def _embeddings(spec: str, device: str) -> EmbeddingTeacher | None:
    if not spec:
        return None
    from training.teachers.clip import ClipRegions

    kind, _, weights = spec.partition(':')
    if kind == 'clip':
        return ClipRegions.load(weights, 'both', device)
    return ClipRegions.load(weights, 'crop' if kind == 'clip_crop' else 'masked_crop', device)


def read_vocabulary(path: str) -> list[str]:
    """Read nouns, one a line, or the names of a ScanNet benchmark's classes by its name.

    '' gives the kinds of things of the simulated rooms.
    """
    if not path:
        from lift_gs_ros.simulation.vocabulary import KINDS

        return list(KINDS)
    if path in BENCHMARKS:
        return list(BENCHMARKS[path].values())
    nouns = [line.strip() for line in Path(path).read_text().splitlines() if line.strip()]
    if not nouns:
        raise ValueError(f'{path} is empty, expected a noun on each line')
    return nouns
