"""Sentences about the boxes of simulated rooms, for the relation head: no image, no map.

Boxes are disturbed as predicted ones are: moved and resized, some candidates missing, some wrong
ones among them, now and then another anchor than the sentence means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box
from lift_gs_ros.grounding.encoded_map import SURROUNDINGS
from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.phrases import noun_phrases
from lift_gs_ros.model.relations import Reference, relation_features
from lift_gs_ros.simulation.expressions import Expression, Mention, make_expressions
from lift_gs_ros.simulation.houses import join_rooms
from lift_gs_ros.simulation.naming import Namer
from lift_gs_ros.simulation.relations import RoomFacts
from lift_gs_ros.simulation.room import Room, RoomObject
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.words import NOUNS, color_words

KINDS = ('attribute', 'relation', 'ordinal', 'several', 'noun', 'colour_noun', 'none')
PLAIN = ('several', 'noun', 'colour_noun')  # say nothing of how things stand
ABSOLUTE = ('on', 'under')  # hold or do not, whatever the other candidates do
# "Everything on the table", and what else asks for that.
ANYTHING = (
    'everything', 'anything', 'something', 'what is', "what's", 'all things', 'the things',
    'all objects', 'the objects',
)  # fmt: skip
BEFORE = ('', '', '', 'find ', 'show me ', 'look for ', 'is there ')
THERE = {
    'on': ('on', 'on', 'on top of', 'lying on', 'standing on', 'that is on', 'resting on'),
    'under': ('under', 'under', 'underneath', 'below', 'that is under'),
    'next_to': ('next to', 'beside', 'by', 'near', 'close to'),
}
NEXT_TO = (0.35, 0.9)  # metres: next to it up to, and no more from
EMPTY = 0.15  # of such sentences that hold for nothing, that many are asked


@dataclass(frozen=True)
class Disturbance:
    """How predicted boxes differ from true ones."""

    shift: float = 0.05  # standard deviation of a box's corners, metres, and as a share of its size
    missing: float = 0.15  # of the candidates that are not the target
    wrong: float = 0.5  # sentences with other things among the candidates
    most_wrong: int = 4  # of them in a room; in a house a fifth of its objects
    halved: float = 0.1  # of the candidates, of which a part is another candidate
    wrong_anchor: float = 0.15
    unseen: float = 0.15  # targets that are not among the candidates, where that leaves nothing


@dataclass(frozen=True)
class ReferenceExample:
    """A sentence, its candidates, and which of them it means, if it means any."""

    kind: str
    relation: str
    reference: Reference
    candidates: list[RoomObject]
    is_target: NDArray[np.bool_]  # (n,)
    anchors: list[RoomObject]
    room: Room

    @property
    def is_plain(self) -> bool:
        """Whether only the noun phrase itself says what is meant: boxes must not sway that."""
        return self.kind in PLAIN

    @property
    def is_anything(self) -> bool:
        """Whether it asks for all that stands so: then every thing is judged by itself."""
        return self.kind == 'anything'

    def alone(self, number: int) -> ReferenceExample:
        """Return the example with one of its candidates."""
        one = slice(number, number + 1)
        return replace(self, candidates=self.candidates[one], is_target=self.is_target[one])

    def draw(
        self, rng: np.random.Generator, disturbance: Disturbance | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features (n, C) and target probabilities (n,); None: of the true boxes.

        The probabilities are all 0 where none of the candidates is meant.
        """
        if self.is_anything and len(self.candidates) > 1:
            return self.alone(self._any_candidate(rng)).draw(rng, disturbance)
        middle = self._middle()
        if disturbance is None:
            boxes, anchors = [o.box for o in self.candidates], [o.box for o in self.anchors]
            wanted: NDArray[np.float32] = self.is_target.astype(np.float32)
            likelihood: NDArray[np.floating] = np.ones(len(boxes))
        else:
            quarters = int(rng.integers(4))
            boxes, wanted, likelihood = self._disturbed_candidates(quarters, disturbance, rng)
            anchors = [_disturb(o.box, quarters, disturbance, rng) for o in self.anchors]
            for k in range(len(anchors)):
                if rng.uniform() < disturbance.wrong_anchor and not self.is_anything:
                    other = self.room.objects[rng.integers(len(self.room.objects))]
                    anchors[k] = _disturb(other.box, quarters, disturbance, rng)
            middle = _turn(middle, quarters) + rng.normal(0, 0.3, 3)
        if self.is_plain:
            wanted = np.ones_like(wanted)
        features = relation_features(boxes, likelihood, anchors, middle)
        return features, wanted / max(wanted.sum(), 1)

    def _middle(self) -> NDArray[np.float64]:
        """Return the middle (3,) of the room that the first anchor is in, or nearly."""
        places = np.array([o.position[:2] for o in self.room.objects])
        around = (self.anchors or self.candidates)[0].position[:2]
        near = np.linalg.norm(places - around, axis=1) <= SURROUNDINGS
        return np.array([*places[near].mean(axis=0), 1.0])

    def _any_candidate(self, rng: np.random.Generator) -> int:
        """Choose one that is meant as often as one that is not; of these rather a near one."""
        if self.is_target.any() and rng.uniform() < 0.5:
            return int(rng.choice(np.flatnonzero(self.is_target)))
        [anchor] = self.anchors
        ways = [np.linalg.norm(o.box.center - anchor.box.center) for o in self.candidates]
        weights = np.where(self.is_target, 0, 0.1 + np.exp(-np.array(ways)))
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def _disturbed_candidates(
        self, quarters: int, disturbance: Disturbance, rng: np.random.Generator
    ) -> tuple[list[Box], NDArray[np.float32], NDArray[np.floating]]:
        """Return boxes, whether each is the target, and how likely each is by its noun."""
        if self.is_anything:
            [box] = [_disturb(o.box, quarters, disturbance, rng) for o in self.candidates]
            if not self.is_target.any() and rng.uniform() < disturbance.halved:
                box = _half(box, rng)
            return [box], self.is_target.astype(np.float32), np.ones(1)
        kept = (rng.uniform(size=len(self.candidates)) >= disturbance.missing) | self.is_target
        unseen = self.relation in ABSOLUTE and rng.uniform() < disturbance.unseen
        if unseen and not self.is_target.all():
            kept = ~self.is_target
        if not kept.any():
            kept[rng.integers(len(kept))] = True
        things = [thing for thing, keep in zip(self.candidates, kept) if keep]
        likelihood = 1 - 0.7 * rng.uniform(0, 1, len(things)) ** 3
        if rng.uniform() < disturbance.wrong:
            known = {o.instance_id for o in (*self.candidates, *self.anchors)}
            others = [o for o in self.room.objects if o.instance_id not in known]
            most = max(disturbance.most_wrong, len(self.room.objects) // 5)
            count = min(len(others), int(rng.integers(1, most + 1)))
            things += [others[i] for i in rng.permutation(len(others))[:count]]
            likelihood = np.append(likelihood, rng.uniform(0.25, 0.85, count))
        boxes = [_disturb(o.box, quarters, disturbance, rng) for o in things]
        halved = np.flatnonzero(rng.uniform(size=len(boxes)) < disturbance.halved)
        boxes += [_half(boxes[i], rng) for i in halved]
        likelihood = np.append(likelihood, likelihood[halved] * rng.uniform(0.4, 0.9, len(halved)))
        wanted = np.zeros(len(boxes), np.float32)
        wanted[: kept.sum()] = self.is_target[kept]
        return boxes, wanted, likelihood / likelihood.max()


def _turn(point: NDArray[np.floating], quarters: int) -> NDArray[np.floating]:
    x, y, z = point
    return np.array([(x, y, z), (-y, x, z), (-x, -y, z), (y, -x, z)][quarters])


def _disturb(box: Box, quarters: int, disturbance: Disturbance, rng: np.random.Generator) -> Box:
    size = box.size[[1, 0, 2]] if quarters % 2 else box.size
    noise = disturbance.shift * (0.5 + size) * rng.normal(0, 1, (2, 3))
    center = _turn(box.center, quarters)
    lower, upper = center - size / 2 + noise[0], center + size / 2 + noise[1]
    return Box.from_corners(np.minimum(lower, upper), np.maximum(lower, upper))


def _half(box: Box, rng: np.random.Generator) -> Box:
    """Cut a box at some place along some axis."""
    lower, upper, axis = box.lower.copy(), box.upper.copy(), rng.integers(3)
    cut = box.center[axis] + rng.uniform(-0.25, 0.25) * box.size[axis]
    (lower if rng.uniform() < 0.5 else upper)[axis] = cut
    return Box.from_corners(lower, upper)


def room_examples(
    seed: int, split: str, language: LanguageEncoder, limit: int = 12
) -> list[ReferenceExample]:
    """Make the examples of one room: all sentences whose phrases the parser finds."""
    room = make_room(seed, split)
    rng = np.random.default_rng(seed)
    return _examples(room, language, limit) + _anything(room, language, rng)


def house_examples(
    seeds: Sequence[int], split: str, language: LanguageEncoder, limit: int = 12
) -> list[ReferenceExample]:
    """Make the examples of several rooms in one house, ``limit`` of a kind for each.

    "Everything on the table" is judged thing by thing, and the same in a house as in a room.
    """
    house, _ = join_rooms([make_room(seed, split) for seed in seeds])
    return _examples(house, language, limit * len(seeds))


def _examples(room: Room, language: LanguageEncoder, limit: int) -> list[ReferenceExample]:
    expressions = make_expressions(room, 0, KINDS, None, limit)
    # Things that stand on others, or do not, are few among so many kinds of sentences.
    more = make_expressions(room, 1, ('relation', 'none'), None, 5 * limit)
    known = {expression.text for expression in expressions}
    expressions += [e for e in more if e.relation in ABSOLUTE and e.text not in known]
    expressions += _plain(room)
    language.encode_batch([expression.text for expression in expressions])
    examples = [_example(room, expression, language) for expression in expressions]
    return [example for example in examples if example is not None]


def _plain(room: Room) -> list[Expression]:
    """Say only what there is: "the chair" means any of them."""
    plain = []
    for kind in sorted({o.kind for o in room.objects}):
        ids = tuple(o.instance_id for o in room.objects if o.kind == kind)
        span = (4, 4 + len(kind))
        if len(ids) > 1:
            plain.append(Expression(f'the {kind}', 'noun', ids, span, (Mention(span, ids),)))
    return plain


def _anything(
    room: Room, language: LanguageEncoder, rng: np.random.Generator
) -> list[ReferenceExample]:
    """Ask for all that stands on a thing, under it or next to it; that may be nothing."""
    facts, namer, examples = RoomFacts(room), Namer(room, rng), []
    for anchor in room.objects:
        name, own = namer.unique(anchor), anchor.instance_id
        for relation, words in THERE.items():
            things = [o for o in room.objects if o is not anchor]
            holds = [_stands(relation, facts, o.instance_id, own) for o in things]
            if relation in ABSOLUTE and anchor.kind == 'table' and rng.uniform() < 0.5:
                pushed = _push_under(anchor, things, rng)
                holds = [
                    h if p is o else relation == 'under' for o, p, h in zip(things, pushed, holds)
                ]
                things = pushed
            if name is None or (True not in holds and rng.uniform() > EMPTY):
                continue
            what, there = str(rng.choice(ANYTHING)), str(rng.choice(words))
            first = '' if what.startswith('what') else str(rng.choice(BEFORE))
            text = f'{first}{what} {there} the {name.text()}'
            phrases = noun_phrases(text)
            if [p.open is not None for p in phrases] != [True, False]:
                continue  # the robot would read something else
            target, place = [(p.begin, p.end) for p in phrases]
            reference = Reference.read(language.encode(text), target, [place])
            known = [(o, stands) for o, stands in zip(things, holds) if stands is not None]
            candidates = [anchor, *(o for o, _ in known)]
            is_target = np.array([False, *(stands for _, stands in known)])
            examples.append(
                ReferenceExample(
                    'anything', relation, reference, candidates, is_target, [anchor], room
                )
            )
    return examples


def _push_under(
    table: RoomObject, things: list[RoomObject], rng: np.random.Generator
) -> list[RoomObject]:
    """Move one of the things that fit to under a table: few rooms have something there."""
    room = table.box.size - 0.1
    fits = [i for i, o in enumerate(things) if (o.box.size < room).all()]
    if not fits:
        return things
    number, pushed = int(rng.choice(fits)), list(things)
    size = things[number].box.size
    shift = rng.uniform(-0.5, 0.5, 2) * (room - size)[:2]
    low = table.box.lower[2] + size[2] / 2
    box = Box(np.array([*(table.box.center[:2] + shift), low]), size)
    pushed[number] = replace(things[number], box=box, support=None)
    return pushed


def _stands(relation: str, facts: RoomFacts, thing: int, anchor: int) -> bool | None:
    """Say whether a thing stands so to another, None where that is open."""
    if relation == 'on':
        return facts.on(thing, anchor)
    if relation == 'under':
        is_under = facts.under(thing, anchor)
        return is_under if is_under or not facts.maybe_under(thing, anchor) else None
    near, far = NEXT_TO
    gap, on_floor = facts.gap(thing, anchor), facts.room.object(thing).box.lower[2] < 0.05
    if gap == 0 or gap >= far:
        return False
    return True if gap <= near and on_floor else None


def _example(
    room: Room, expression: Expression, language: LanguageEncoder
) -> ReferenceExample | None:
    phrases = noun_phrases(expression.text)
    targets = [p for p in phrases if p.is_target]
    mentions = [_mention(expression, (p.begin, p.end)) for p in phrases]
    if len(targets) != 1 or None in mentions:
        return None
    at = phrases.index(targets[0])
    if mentions[at].instance_ids != expression.target_ids:  # type: ignore[union-attr]
        return None
    others = [mention for i, mention in enumerate(mentions) if i != at and mention is not None]
    if any(len(mention.instance_ids) != 1 for mention in others):
        return None
    if expression.kind == 'none' and not others:  # a matter of names
        return None
    spans = [(p.begin, p.end) for p in phrases]
    target_span = spans.pop(at)
    if targets[0].open is not None:
        return None  # ``_anything`` asks for it
    words = expression.text[slice(*target_span)].lower().split()
    candidates = _possible(room, expression, words)
    is_target = np.isin([o.instance_id for o in candidates], expression.target_ids)
    too_few = len(candidates) < 2 and expression.kind not in (*PLAIN, 'none')
    if too_few or not candidates or is_target.sum() != len(expression.target_ids):
        return None
    reference = Reference.read(language.encode(expression.text), target_span, spans)
    anchors = [room.object(mention.instance_ids[0]) for mention in others]
    return ReferenceExample(
        expression.kind, expression.relation, reference, candidates, is_target, anchors, room
    )


def _possible(room: Room, expression: Expression, words: list[str]) -> list[RoomObject]:
    """Return what the target's noun, and its colour, could mean."""
    if expression.target_ids:
        first = room.object(expression.target_ids[0])
        same = [o for o in room.objects if o.kind == first.kind]
        colored = expression.kind not in PLAIN and _has_color(first, words)
    else:
        nouns = [noun for noun in NOUNS if f' {" ".join(words)}'.endswith(f' {noun.text}')]
        same = [o for o in room.objects if any(noun.may_mean(o) for noun in nouns)]
        colored = any(_has_color(o, words) for o in same)
    return [o for o in same if not colored or _has_color(o, words)]


def _has_color(thing: RoomObject, words: list[str]) -> bool:
    return any(word in words for word in color_words(thing.color_name))


def _mention(expression: Expression, span: tuple[int, int]) -> Mention | None:
    own = [m for m in expression.mentions if m.span[0] < span[1] and span[0] < m.span[1]]
    return own[0] if len(own) == 1 else None
