"""One schema for what people say about scanned scenes, whichever data set it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from lift_gs_ros.geometry import Box
from training.data.labelled import Sentence


@dataclass(frozen=True)
class Annotation:
    """A sentence about a scene, the objects that it asks for, and its phrases.

    Object ids are those of the scene's data set: ScanNet's ``objectId``, which counts from 0.
    """

    scene: str
    # The phrases that the data set marks, and the ids that each stands for; some mark none.
    sentence: Sentence
    targets: tuple[int, ...]  # none where the scene holds no such thing
    target_name: str  # the targets' category: "coffee table"
    where: str  # file and entry, for messages
    boxes: dict[int, Box] = field(default_factory=dict)  # metres, where ids mean nothing else

    def __post_init__(self) -> None:
        text, phrases = self.sentence.text, self.sentence.phrases
        if not text.strip():
            raise ValueError(f'{self.where} has an empty sentence: leave the entry out')
        if len(phrases) != len(self.sentence.instances):
            raise ValueError(
                f'{self.where} has {len(phrases)} phrases and objects for '
                f'{len(self.sentence.instances)}, expected as many'
            )
        for begin, end in phrases:
            if not 0 <= begin < end <= len(text):
                raise ValueError(
                    f'{self.where} marks the characters [{begin}, {end}) of a sentence of '
                    f'{len(text)} characters, expected a phrase inside it: "{text}"'
                )

    @property
    def object_ids(self) -> set[int]:
        """Return all objects that the sentence speaks of."""
        return {*self.targets, *(i for own in self.sentence.instances for i in own)}

    def check_objects(self, known: set[int]) -> None:
        """Raise ValueError where the sentence names an object that the scene does not have."""
        unknown = sorted(self.object_ids - known)
        if unknown:
            span = f'{min(known)} to {max(known)}' if known else 'none at all'
            raise ValueError(
                f'{self.where} names object {unknown[0]} of {self.scene}, which has the objects '
                f'{span}: are scene and sentences of the same release of the data set?'
            )
