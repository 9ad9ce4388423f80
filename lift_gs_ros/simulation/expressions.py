"""Referring expressions about a simulated room, each true and unambiguous by construction.

Kinds: 'noun' ("the sofa"), 'colour_noun' ("the red chair"), 'attribute' ("the tallest lamp"),
'relation' ("the mug on the desk"), 'ordinal' ("the second chair from the door"), 'several'
("all red boxes"; more than one target) and 'none' ("the piano"; no target). All splits share
the templates of :mod:`lift_gs_ros.simulation.words`, but for its second tuples: in the test split
a quarter of the sentences is drawn from those, which train and val never use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lift_gs_ros.simulation.claims import CLAIMS, Claim, Namer
from lift_gs_ros.simulation.relations import RoomFacts
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.rooms import SPLITS
from lift_gs_ros.simulation.words import article, object_phrases

__all__ = ['EXPRESSION_KINDS', 'Expression', 'Mention', 'make_expressions', 'object_phrases']

Span = tuple[int, int]  # characters [begin, end) of the text
EXPRESSION_KINDS = tuple(CLAIMS)


@dataclass(frozen=True)
class Mention:
    """A noun phrase of an expression, without its article, and what it stands for."""

    span: Span
    instance_ids: tuple[int, ...]


@dataclass(frozen=True)
class Expression:
    """A sentence, the objects that it asks for, and all objects that it mentions."""

    text: str
    kind: str  # one of EXPRESSION_KINDS
    target_ids: tuple[int, ...]  # ascending; empty for kind 'none'
    target_span: Span  # the noun phrase of the target, without article or count
    mentions: tuple[Mention, ...]  # every noun phrase in the text's order, the target's too
    relation: str = ''  # key of words.RELATION_TEMPLATES, where the kind has one


def make_expressions(
    room: Room,
    seed: int = 0,
    kinds: Sequence[str] = EXPRESSION_KINDS,
    visible_ids: Sequence[int] | None = None,
    limit: int = 4,
) -> list[Expression]:
    """Make up to ``limit`` expressions of each kind about a room, the same for the same seed.

    Every object mentioned is among ``visible_ids`` (all objects where None); uniqueness always
    holds for the whole room. Raises ValueError for a kind that is not in EXPRESSION_KINDS.
    """
    unknown = [kind for kind in kinds if kind not in CLAIMS]
    if unknown:
        raise ValueError(f'expression kinds {unknown} are not among {EXPRESSION_KINDS}')
    visible = {o.instance_id for o in room.objects}
    if visible_ids is not None:
        visible &= set(visible_ids)
    split = SPLITS.index(room.split)
    facts = RoomFacts(room)
    expressions: list[Expression] = []
    for kind in kinds:
        # A stream per kind: the same sentences whichever other kinds are asked for.
        rng = np.random.default_rng([room.seed, split, 17, seed, EXPRESSION_KINDS.index(kind)])
        namer = Namer(room, rng)
        claims = [c for c in CLAIMS[kind](namer, facts, rng) if c.ids <= visible]
        expressions += _worded(kind, _varied(claims, rng), limit, room.split == 'test', rng)
    return expressions


def _varied(claims: list[Claim], rng: np.random.Generator) -> list[Claim]:
    """Shuffle claims so that rare relations come as early as frequent ones."""
    turns: dict[str, int] = {}
    order: list[tuple[int, int]] = []
    shuffled = [claims[i] for i in rng.permutation(len(claims))]
    for i, claim in enumerate(shuffled):
        turns[claim.group] = turns.get(claim.group, -1) + 1
        order.append((turns[claim.group], i))
    return [shuffled[i] for _, i in sorted(order)]


def _worded(
    kind: str, claims: list[Claim], limit: int, is_test: bool, rng: np.random.Generator
) -> list[Expression]:
    """Word claims until there are ``limit`` different texts."""
    expressions: dict[str, Expression] = {}
    for claim in claims:
        if len(expressions) >= limit:
            break
        expression = _word(kind, claim, is_test, rng)
        expressions.setdefault(expression.text, expression)
    return list(expressions.values())


def _word(kind: str, claim: Claim, is_test: bool, rng: np.random.Generator) -> Expression:
    """Draw a template and a sentence around it, fill in the phrases, and note the spans.

    A phrase without an article ("red chair") and one that begins with another place ("from the
    door, the chair ...") stand alone.
    """

    def draw(choices: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
        common, reserved = choices
        pool = reserved if is_test and reserved and rng.random() < 0.25 else common
        return pool[int(rng.integers(len(pool)))]

    template = draw(claim.templates)
    wrapper = draw(claim.wrappers)
    if template.startswith(('the ', 'a ', 'all ', 'both ', 'every', 'each', '{t} ')):
        template = wrapper.replace('{}', template)
    text, spans = _fill(template, {name: slot.text for name, slot in claim.slots.items()})
    mentions = tuple(
        Mention(spans[name], claim.slots[name].instance_ids)
        for name in sorted(spans, key=lambda name: spans[name])
    )
    target_ids = tuple(sorted(claim.slots['t'].instance_ids))
    return Expression(text, kind, target_ids, spans['t'], mentions, claim.relation)


def _fill(template: str, phrases: dict[str, str]) -> tuple[str, dict[str, Span]]:
    """Put phrases in place of {name}; give the text and each phrase's span."""
    text, spans = '', {}
    for i, piece in enumerate(template.replace('}', '{').split('{')):
        if i % 2 == 0:
            text += piece
            continue
        if text.endswith(' a ') or text == 'a ':
            text = text[:-2] + article(phrases[piece]) + ' '
        spans[piece] = (len(text), len(text) + len(phrases[piece]))
        text += phrases[piece]
    return text, spans
