"""What a query means to somebody who knows where the camera is.

"The nearest chair" is nearest to it, "the chair left of the table" is so as seen from it, and "the
chair on the left" is left of the other chairs. The relation head has learnt sentences that say so:
what a query leaves unsaid is added for it to read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lift_gs_ros.model import lexicon
from lift_gs_ros.model.phrases import (
    Phrase,
    is_place,
    is_several,
    left_open,
    link_before,
    noun_phrases,
)


@dataclass(frozen=True)
class Judged:
    """What the relation head reads for a query, with n phrases."""

    text: str
    phrases: list[Phrase]  # (n,) in this text
    said: list[Phrase]  # (n,) the same in the query; what it leaves unsaid: no characters


def judged_from_camera(query: str) -> Judged | None:
    """Return what a query means; None: it is no matter where the camera is."""
    phrases = noun_phrases(query)
    if any(phrase.is_camera for phrase in phrases):
        return Judged(query, phrases, phrases)
    targets = [phrase for phrase in phrases if phrase.is_target]
    anchors = [p for p in phrases if not (p.is_target or is_place(query[p.begin : p.end]))]
    if len(targets) != 1 or len(anchors) > 1:  # the head knows two anchors
        return None
    [target], whole = targets, Judged(query.rstrip(' \n.,;:?!'), phrases, phrases)
    if anchors:
        is_side = lexicon.SIDE_OF.search(link_before(query, phrases, anchors[0]))
        return _longer(whole, ', seen from', 'me') if is_side else None
    if way := _way(query, target):
        return _longer(whole, f' {way}', 'me')
    name, side = query[target.begin : target.end], _side(query, target)
    if not side or is_several(name) or left_open(name) is not None:
        return None
    short = Judged(name, [replace(target, begin=0, end=len(name))], [target])
    return _longer(_longer(short, f' {side} of', 'the others'), ', seen from', 'me')


def _longer(judged: Judged, words: str, unsaid: str) -> Judged:
    """Add words, and a phrase that names the camera, or the other candidates for the target."""
    text = f'{judged.text}{words} {unsaid}'
    phrase = Phrase(
        len(text) - len(unsaid),
        len(text),
        is_target=False,
        is_camera=unsaid == 'me',
        is_others=unsaid != 'me',
    )
    return Judged(text, [*judged.phrases, phrase], [*judged.said, replace(phrase, begin=0, end=0)])


def _way(query: str, target: Phrase) -> str:
    """Return 'to' for "the nearest chair" and "which chair is nearest?", 'from' for the farthest.

    Else ''.
    """
    end = lexicon.AT_LAST.search(query)
    words = query[target.begin : target.end].lower().split() + ([end[1].lower()] if end else [])
    if not lexicon.NEAREST.isdisjoint(words):
        return 'to'
    return '' if lexicon.FARTHEST.isdisjoint(words) else 'from'


def _side(query: str, target: Phrase) -> str:
    """Return 'left' for "the chair on the left" and "the left chair", else 'right' or ''.

    "Turn to the left and find the chair" says nothing of the chair.
    """
    name = query[target.begin : target.end]
    said = [m for m in lexicon.ON_SIDE.finditer(query) if not 0 < m.start() < target.end]
    found = lexicon.SIDE.search(' '.join([name, *(match[1] for match in said)]))
    return found[1].lower() if found else ''
