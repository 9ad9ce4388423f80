"""True statements about a room that pick out objects, before they are put into words.

The makers in CLAIMS list every claim of their kind that holds without ambiguity; which of them
are said, and in which words, is decided in :mod:`lift_gs_ros.simulation.expressions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lift_gs_ros.simulation.naming import Namer
from lift_gs_ros.simulation.relations import RoomFacts
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.vocabulary import COLORS, HELD_OUT_PAIRS, KINDS
from lift_gs_ros.simulation.words import (
    ABSENT_NOUNS,
    NOUNS,
    NUMBERS,
    ORDINALS,
    PLURAL_WRAPPERS,
    RELATION_TEMPLATES,
    WRAPPERS,
    nouns_of,
)

Templates = tuple[tuple[str, ...], tuple[str, ...]]  # of all splits; of the test split only

_PLAIN: Templates = (('the {t}', 'the {t}', 'the {t}', '{t}', 'a {t}'), ())


@dataclass(frozen=True)
class Slot:
    """A noun phrase and the objects that it stands for."""

    text: str
    instance_ids: tuple[int, ...]


@dataclass(frozen=True)
class Claim:
    """What an expression says: its phrases by template slot ('t' is the target)."""

    group: str  # claims of different groups take turns
    slots: dict[str, Slot]
    templates: Templates = _PLAIN
    wrappers: Templates = WRAPPERS
    relation: str = ''

    @property
    def ids(self) -> set[int]:
        """All objects that are mentioned."""
        return {i for slot in self.slots.values() for i in slot.instance_ids}


Maker = Callable[[Namer, RoomFacts, np.random.Generator], list[Claim]]


def _nouns(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    claims = []
    for o in namer.room.objects:
        for noun in nouns_of(o):
            phrase = namer.phrase(noun)
            if phrase.possible == (o.instance_id,):
                claims.append(Claim(str(o.instance_id), {'t': Slot(phrase.text(), phrase.sure)}))
    return claims


def _colour_nouns(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    claims = []
    for o in namer.room.objects:
        for noun in nouns_of(o):
            phrase = namer.phrase(noun, o.color_name)
            if phrase.possible == (o.instance_id,):
                claims.append(Claim(str(o.instance_id), {'t': Slot(phrase.text(), phrase.sure)}))
    return claims


def _attributes(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    claims = []
    for phrase in namer.groups(fewest=2):
        for words, picked in _extremes(facts, list(phrase.sure)):
            if picked is not None:
                slots = {'t': Slot(phrase.text(words[int(rng.integers(len(words)))]), (picked,))}
                claims.append(Claim(words[0], slots, (('the {t}',), ())))
    return claims


def _extremes(facts: RoomFacts, ids: list[int]) -> list[tuple[tuple[str, ...], int | None]]:
    """Adjectives and which of the objects they single out."""
    found: list[tuple[tuple[str, ...], int | None]] = [
        (('tallest',), facts.tallest(ids)),
        (('shortest', 'lowest'), facts.shortest(ids)),
        (('biggest', 'largest'), facts.biggest(ids, 1.6)),
        (('smallest', 'tiniest'), facts.smallest(ids, 1.6)),
    ]
    if len(ids) == 2:
        found.append((('big', 'large', 'bigger'), facts.biggest(ids, 2.2)))
        found.append((('small', 'little', 'smaller'), facts.smallest(ids, 2.2)))
    return found


def _named(namer: Namer) -> dict[int, Slot]:
    """Give every object that has a name of its own, by id."""
    named = [(o.instance_id, namer.unique(o)) for o in namer.room.objects]
    return {i: Slot(phrase.text(), (i,)) for i, phrase in named if phrase is not None}


def _relations(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    named = _named(namer)
    claims: list[Claim] = []
    redundant: list[Claim] = []  # the noun alone would do
    for phrase in namer.groups(fewest=1):
        pool = list(phrase.sure)
        free = [a for a in named if a not in pool]
        for relation, picked, others in (
            *_relations_to_one(facts, pool, free),
            *_relations_to_two(facts, pool, _triples(free, namer.room, rng)),
        ):
            slots = {name: named[i] for name, i in others.items()}
            slots['t'] = Slot(phrase.text(), (picked,))
            words = RELATION_TEMPLATES[relation]
            claim = Claim(relation, slots, words, WRAPPERS, relation)
            (claims if len(pool) > 1 else redundant).append(claim)
    extra = min(len(redundant), 1 + len(claims) // 5)
    return claims + [redundant[i] for i in rng.permutation(len(redundant))[:extra]]


Relation = tuple[str, int, dict[str, int]]  # its name, the target, the others by slot


def _relations_to_one(facts: RoomFacts, pool: list[int], anchors: list[int]) -> list[Relation]:
    """Relations of one of the pool to each anchor, where they are beyond doubt."""
    found = []
    for a in anchors:
        found += [(name, pick(facts, pool, a), {'a': a}) for name, pick in _PICKERS.items()]
        for name, holds, maybe in (
            ('on', facts.on, facts.on),
            ('under', facts.under, facts.maybe_under),
        ):
            there = [c for c in pool if maybe(c, a)]
            sure = len(there) == 1 and holds(there[0], a)
            found.append((name, there[0] if sure else None, {'a': a}))
    return [(name, picked, others) for name, picked, others in found if picked is not None]


def _relations_to_two(
    facts: RoomFacts, pool: list[int], triples: list[tuple[int, int, int]]
) -> list[Relation]:
    """Relations of one of the pool to two others: between them, or seen from one of them."""
    found = []
    for a, b, viewer in triples:
        found.append(('between', facts.between(pool, a, b), {'a': a, 'b': b}))
        for name, left in (('left_of', True), ('right_of', False)):
            picked = facts.beside(pool, a, viewer, left)
            found.append((name, picked, {'a': a, 'v': viewer}))
    return [(name, picked, others) for name, picked, others in found if picked is not None]


_PICKERS: dict[str, Callable[[RoomFacts, list[int], int], int | None]] = {
    'closest': RoomFacts.closest,
    'farthest': RoomFacts.farthest,
    'next_to': RoomFacts.next_to,
    'in_front_of': RoomFacts.in_front_of,
}


# What one can stand at and look from.
_VIEWPOINTS = ('door', 'window', 'sofa', 'bed', 'table', 'counter', 'sink', 'wardrobe', 'chair')


def _triples(ids: list[int], room: Room, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Draw triples of different ids for two anchors and a viewpoint, often the door (id 1)."""
    viewpoints = [i for i in ids if room.object(i).kind in _VIEWPOINTS]
    triples = []
    for _ in range(30 if len(ids) >= 3 and viewpoints else 0):
        v = viewpoints[int(rng.integers(len(viewpoints)))]
        if 1 in viewpoints and rng.random() < 0.4:
            v = 1
        a, b = (ids[i] for i in rng.permutation(len(ids))[:2])
        if v not in (a, b):
            triples.append((a, b, v))
    return triples


def _ordinals(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    claims = []
    named = _named(namer)
    for phrase in namer.groups(fewest=2):
        for a in [a for a in named if a not in phrase.sure]:
            for rank, picked in enumerate(facts.ranked(phrase.sure, a)[: len(ORDINALS)]):
                adjective, templates = ORDINALS[rank], RELATION_TEMPLATES['ordinal']
                if rank > 0 and rng.random() < 0.3:
                    adjective, templates = f'{adjective} closest', (('the {t} to the {a}',), ())
                slots = {'t': Slot(phrase.text(adjective), (picked,)), 'a': named[a]}
                claims.append(Claim(str(rank), slots, templates, WRAPPERS, 'ordinal'))
    return claims


def _several(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    claims = []
    for phrase in namer.groups(fewest=2):
        group = 'plain' if phrase.color_name is None else 'coloured'
        slots = {'t': Slot(phrase.text(plural=True), phrase.sure)}
        templates = ['all {t}', 'all the {t}', 'the {t}']
        if len(phrase.sure) in NUMBERS:
            templates.append(f'the {NUMBERS[len(phrase.sure)]} {{t}}')
        if len(phrase.sure) == 2:
            templates.append('both {t}')
        claims.append(Claim(group, slots, (tuple(templates), ()), PLURAL_WRAPPERS))
        each = {'t': Slot(phrase.text(), phrase.sure)}
        claims.append(Claim(group, each, (('every {t}',), ('each and every {t}',)), _FIND))
    for o in namer.room.objects:
        carried = tuple(c.instance_id for c in namer.room.objects if c.support == o.instance_id)
        anchor = namer.unique(o)
        if len(carried) < 2 or anchor is None or o.kind == 'rug':
            continue
        slots = {'t': Slot('everything', carried), 'a': Slot(anchor.text(), (o.instance_id,))}
        templates_on = (('{t} on the {a}', '{t} that is on the {a}'), ('{t} resting on the {a}',))
        claims.append(Claim('on', slots, templates_on, _FIND, 'on'))
    return claims


_FIND: Templates = (('{}', 'find {}', 'show me {}', 'look for {}'), ('point at {}',))


def _none(namer: Namer, facts: RoomFacts, rng: np.random.Generator) -> list[Claim]:
    """Absent things, absent colours of present things, and relations that hold for nothing."""
    room = namer.room
    claims: list[Claim] = []
    for text in ABSENT_NOUNS:
        claims.append(Claim('unknown', {'t': Slot(text, ())}))
    for noun in NOUNS:
        if not any(o.kind == noun.kind or noun.may_mean(o) for o in room.objects):
            claims.append(Claim('absent kind', {'t': Slot(noun.text, ())}))
    for o in room.objects:
        for color in COLORS:
            # In train and val, held-out pairs are not even spoken of: "never there" is learned.
            hidden = room.split != 'test' and (color, o.kind) in HELD_OUT_PAIRS
            phrase = namer.phrase(namer.general(o).noun, color)
            if not phrase.possible and not hidden and color in KINDS[o.kind]:
                # Wrong colours are the hardest: they come twice as often as the other groups.
                group = f'colour {int(rng.integers(2))}'
                claims.append(Claim(group, {'t': Slot(phrase.text(), ())}))
    return claims + _none_there(namer, facts)


def _none_there(namer: Namer, facts: RoomFacts) -> list[Claim]:
    """Things that are in the room, but not on or under that table."""
    room, named, claims = namer.room, _named(namer), []
    for table in [o.instance_id for o in room.objects if o.kind == 'table']:
        for phrase in namer.groups(fewest=1) if table in named else ():
            kind = room.object(phrase.sure[0]).kind
            for relation, maybe in (('on', facts.on), ('under', facts.maybe_under)):
                if kind not in _CARRIED[relation]:
                    continue
                if not any(maybe(c, table) for c in phrase.possible):
                    slots = {'t': Slot(phrase.text(), ()), 'a': named[table]}
                    words = RELATION_TEMPLATES[relation]
                    claims.append(Claim('relation', slots, words, WRAPPERS, relation))
    return claims


_CARRIED = {
    'on': ('mug', 'bottle', 'laptop', 'monitor', 'book', 'box'),
    'under': ('box', 'bin', 'ball', 'stool'),
}

CLAIMS: dict[str, Maker] = {
    'colour_noun': _colour_nouns,
    'noun': _nouns,
    'attribute': _attributes,
    'relation': _relations,
    'ordinal': _ordinals,
    'several': _several,
    'none': _none,
}
