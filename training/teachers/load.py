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
CAPTIONS = 'vlm:WEIGHTS'
EMBEDDINGS = 'clip:WEIGHTS, clip_crop:WEIGHTS or clip_masked_crop:WEIGHTS'


@dataclass(frozen=True)
class TeacherSpec:
    """Which teachers, and where their weights are; plain strings, so that it can travel."""

    masks: str
    captions: str = ''  # '': those of the masks' teacher, if it names what it finds
    embeddings: str = ''  # '': none
    vocabulary: str = ''  # of a detector: a file, scannet20 or scannet200; '': household things
    tags: str = ''  # which of it a detector looks for in an image; '': for all

    def __post_init__(self) -> None:
        for name, known, what in (
            ('masks', ('sam', 'sam2', 'detector', 'simulated'), MASKS),
            ('tags', ('', 'clip'), TAGS),
            ('captions', ('', 'vlm'), CAPTIONS),
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
        read_vocabulary(spec.vocabulary)
    if kind != 'simulated':
        from training.teachers.sam import SegmentAnything

        SegmentAnything.check(weights)
    for scene in scenes if spec.masks == 'simulated' else ():
        parse_room(scene)
    if spec.captions:
        from training.teachers import vlm

        check_local(spec.captions.partition(':')[2], *vlm.WHAT)
    for clip in filter(None, (spec.tags, spec.embeddings)):
        from training.teachers.clip import find_clip

        find_clip(clip.partition(':')[2])


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
        _captions(spec.captions, device),
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


def _captions(spec: str, device: str) -> CaptionTeacher | None:
    if not spec:
        return None
    from training.teachers.vlm import VlmCaptions

    return VlmCaptions.load(spec.partition(':')[2], device)


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
