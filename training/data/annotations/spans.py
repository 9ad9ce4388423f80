"""Where in a sentence an object is named: by tokens, by its category, or by the grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lift_gs_ros.model.phrases import noun_phrases
from training.data.annotations.records import Record, object_id
from training.data.labelled import Sentence

Span = tuple[int, int]  # characters [begin, end)

_ARTICLE = re.compile(r'(?:a|an|the|this|that|these|those)\s+', re.IGNORECASE)


def entity_sentence(record: Record) -> Sentence:
    """Read ``token`` and ``entities``, as ScanEnts3D and Locate 3D have them.

    The text is the tokens joined by blanks: in Nr3D they are spelled otherwise than the sentence,
    and Locate 3D's own loader joins them too. Tokens that do not follow each other ("the towel on
    the towel stand": 0 and 3) are phrases of their own; entities of the same tokens are one phrase
    that stands for the objects of all. Raises ValueError where a token does not exist or an object
    has no id.
    """
    tokens = [
        str(token) for token in record.items('token' if 'token' in record.fields else 'tokens')
    ]
    begins = [len(' '.join(tokens[:i])) + (i > 0) for i in range(len(tokens))]
    phrases: dict[Span, list[int]] = {}
    for entity in record.items('entities'):
        numbers, ids = _entity(entity, record.where)
        if numbers and not 0 <= numbers[0] <= numbers[-1] < len(tokens):
            raise ValueError(
                f'{record.where} marks the tokens {numbers} of a sentence of {len(tokens)} tokens: '
                'entities and sentence do not belong together'
            )
        for run in _runs([n for n in numbers if tokens[n].strip()]):
            span = begins[run[0]], begins[run[-1]] + len(tokens[run[-1]])
            phrases[span] = list(dict.fromkeys([*phrases.get(span, []), *ids]))
    ordered = sorted(phrases)
    return Sentence(' '.join(tokens), ordered, [phrases[span] for span in ordered])


def _entity(entity: Any, where: str) -> tuple[list[int], list[int]]:
    """Return the numbers of an entity's tokens, ascending, and the ids of "48_shelf"."""
    is_pair = isinstance(entity, (list, tuple)) and len(entity) == 2
    if not is_pair or not all(isinstance(part, (list, tuple)) for part in entity):
        raise ValueError(
            f'{where} has the entity {entity!r}, expected [[token, ...], ["id_label", ...]]'
        )
    numbers = sorted(object_id(n, f'{where}, a token of an entity') for n in entity[0])
    ids = [object_id(str(n).split('_')[0], f'{where}, the entity {n!r}') for n in entity[1]]
    return numbers, list(dict.fromkeys(ids))


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number <= runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def named_sentence(text: str, names: Sequence[tuple[str, int]]) -> Sentence:
    """Mark where templates name things: pairs of a category and an object id, target first.

    Longer names are looked for first, so that the "table" in "coffee table" stays its own. Several
    things of one name share its places in their order; where there are fewer places ("between the
    tables"), the last place stands for all that are left. Names that do not occur are not marked.
    """
    ids_of: dict[str, list[int]] = {}
    for name, number in names:
        ids_of.setdefault(name.lower(), []).append(number)
    taken: dict[Span, list[int]] = {}
    for name in sorted(ids_of, key=len, reverse=True):
        places = [
            place
            for place in _occurrences(text, name)
            if not any(place[0] < end and begin < place[1] for begin, end in taken)
        ]
        ids = ids_of[name]
        for i, place in enumerate(places[: len(ids)]):
            is_last = i + 1 == len(places)
            taken[place] = ids[i:] if is_last else ids[i : i + 1]
    ordered = sorted(taken)
    return Sentence(text, ordered, [taken[place] for place in ordered])


def _occurrences(text: str, name: str) -> list[Span]:
    words = r'\s+'.join(map(re.escape, name.split()))
    pattern = rf'(?<!\w){words}(?:s|es)?(?!\w)'
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)] if words else []


def target_span(text: str, name: str) -> Span:
    """Find the phrase that a sentence asks for, where the data set does not mark it.

    The first noun phrase with the target's category in it, with the last word of that, or the
    first one that no relation leads to. Without its article.
    """
    found = noun_phrases(text)
    phrases = [_without_article(text, phrase.begin, phrase.end) for phrase in found]
    for wanted in (name, *name.split()[-1:]):
        for begin, end in phrases:
            if _occurrences(text[begin:end], wanted):
                return begin, end
    asked = [span for span, phrase in zip(phrases, found) if phrase.is_target]
    return [*_occurrences(text, name), *asked, (0, len(text))][0]


def _without_article(text: str, begin: int, end: int) -> Span:
    article = _ARTICLE.match(text, begin, end)
    return (article.end(), end) if article else (begin, end)
