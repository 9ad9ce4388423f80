"""The noun phrases of a query, with their characters, and which of them is asked for.

A rule-based chunker for English requests to a robot: no download, no model, under a millisecond.
Words that can not be inside a simple noun phrase (prepositions, verbs, conjunctions) cut the
sentence; what remains between two cuts is a phrase. The phrase that no relation leads to is the
target: "the lamp" in "in front of the sofa, the lamp". A description of several sentences is of
what its first one names. What is not English is one phrase.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lift_gs_ros.model import lexicon


@dataclass(frozen=True)
class Phrase:
    """Characters [begin, end) of a query that name an object."""

    begin: int
    end: int
    is_target: bool  # asked for, not only mentioned
    # What is said of a target that names no kind: '' of "everything", 'red' of "the red things".
    # None: it names one, or it is asked for in a way that needs one ("something to sit on").
    open: str | None = None
    # All that stands so to the one other phrase is asked for: "everything on the table", "the mugs
    # on the table". How one stands is no matter of the others.
    each: bool = False
    is_camera: bool = False  # "closest to me", "next to you": not a thing, but where the camera is
    is_others: bool = False  # what else the target may be: "left of the others" (``viewpoint.py``)


@dataclass(frozen=True)
class _Token:
    word: str  # lower case
    begin: int
    end: int
    # 'word', 'determiner', 'relation', 'command', 'conjunction', 'comma', 'material', 'filler',
    # 'subordinate' or 'self'
    kind: str


@dataclass(frozen=True)
class _Chunk:
    tokens: list[_Token]
    link: frozenset[str]  # kinds of the tokens between the chunk before and this one
    verb_only: bool  # what leads here is only "is" or "are"
    sentence: int  # number of its sentence in the text
    is_told: bool  # "there is ..."
    # "The mug, it is behind ...", "the mug I left on ...": says more of what was named before.
    is_of_it: bool

    @property
    def names(self) -> list[str]:
        return [token.word for token in self.tokens if token.kind in ('word', 'self')]

    @property
    def is_camera(self) -> bool:
        return any(token.kind == 'self' for token in self.tokens)

    @property
    def is_anchor(self) -> bool:
        return 'relation' in self.link and not self.verb_only


def noun_phrases(text: str) -> list[Phrase]:
    """Find the noun phrases of a query, in order; a blank text has none, any other at least one.

    Offsets count characters of ``text``. There is always a target where there is a phrase.
    """
    words = lexicon.WORD.findall(text.lower())
    if not any(word[0].isalnum() for word in words):
        return []
    if lexicon.FOREIGN.intersection(words) and not lexicon.ENGLISH.intersection(words):
        return [_whole(text)]
    tokens = _tokens(text)
    chunks = _without_addressed([chunk for chunk in _chunks(tokens) if _names_something(chunk)])
    if not chunks:
        return _with_each(text, tokens, [_whole(text)])
    targets = _targets(chunks)
    chunks, targets = _without_ones(chunks, targets)
    if any(token.word in lexicon.DESCRIBING for token in tokens):
        targets = _of_description(chunks, targets)
    phrases = [
        Phrase(chunk.tokens[0].begin, chunk.tokens[-1].end, is_target, is_camera=chunk.is_camera)
        for chunk, is_target in zip(chunks, targets)
    ]
    return _with_each(text, tokens, _without_camera_as_target(text, phrases))


def bare_noun(phrase: str) -> str:
    """Return a phrase without the words before its name: "red chair" of "the second red chair"."""
    words = phrase.split()
    leading = lexicon.DETERMINERS | lexicon.QUANTITIES | lexicon.RANKS | {'of'}
    first = next((i for i, word in enumerate(words) if word.lower() not in leading), 0)
    return ' '.join(words[first:])


def is_place(phrase: str) -> bool:
    """Say whether a phrase means surroundings ("the living room"), which are no thing to find."""
    return bare_noun(phrase).lower().split()[-1] in lexicon.PLACES


def link_before(text: str, phrases: Sequence[Phrase], phrase: Phrase) -> str:
    """Return what is said between a phrase and the one before it."""
    before = max((p.end for p in phrases if p.end <= phrase.begin), default=0)
    return text[before : phrase.begin]


def is_negated(text: str) -> bool:
    """Say whether words deny something: "that is not on", "without"."""
    words = text.lower().replace('’', "'").split()
    return any(word in lexicon.NEGATIONS or word.endswith("n't") for word in words)


def says_where(text: str) -> bool:
    """Say whether words tell what a thing stands on, under or next to; "closest to" does not."""
    return not lexicon.STANDING.isdisjoint(text.lower().split())


def _with_each(text: str, tokens: list[_Token], phrases: list[Phrase]) -> list[Phrase]:
    """Mark a target that names no kind, or several things, if it is the only one.

    Several things are marked where one thing anchors them, others where at most one does. Of how it
    stands there only what the relation head judges of one thing alone is understood.
    """
    targets = [phrase for phrase in phrases if phrase.is_target]
    name = text[targets[0].begin : targets[0].end]
    said = left_open(name)
    if len(targets) != 1 or (said is None and not is_several(name)):
        return phrases
    [target] = targets
    others = [p for p in phrases if not p.is_target]
    anchors = [p for p in others if not is_place(text[p.begin : p.end])]
    is_fit = len(anchors) == 1 or (said is not None and not anchors)
    if not is_fit or any(phrase.begin < target.end for phrase in others):
        return phrases

    def between(begin: int, end: int) -> set[str]:
        inside = [t for t in tokens if begin <= t.begin < end and t.kind != 'comma']
        free = [t for t in inside if not any(p.begin <= t.begin < p.end for p in others)]
        return {word for token in free for word in token.word.split()}

    rest = target.end
    if anchors:
        link = between(rest, anchors[0].begin)
        rest = anchors[0].end
        if not link <= lexicon.LINKING or link.isdisjoint(lexicon.STANDING):
            return phrases
    if not between(rest, len(text)) <= lexicon.AROUND:
        return phrases
    return [replace(p, open=said, each=True) if p.is_target else p for p in phrases]


def is_several(phrase: str) -> bool:
    """Say whether a phrase names several things: "all mugs", "the two chairs", "every lamp"."""
    words = phrase.lower().split()
    if words[0] == 'one' or not lexicon.RANKS.isdisjoint(words):
        return False
    noun = bare_noun(phrase).lower().split(' of ')[0].split()[-1]  # "chest of drawers"
    is_plural = noun.endswith('s') and not noun.endswith(('ss', 'us', 'is'))
    return is_plural or not lexicon.SEVERAL.isdisjoint(words)


def left_open(phrase: str) -> str | None:
    """Return what a phrase says of a thing that it does not name; None where it names one."""
    words = phrase.lower().replace('’', "'").split()
    if words[0].startswith('what') and lexicon.WHAT.issuperset(words):
        return ''
    if words[-1] in lexicon.ANYTHING:
        return ''
    if not lexicon.RANKS.isdisjoint(words):
        return None  # "the tallest thing" is one of all, and not each by itself
    if words[-1] in lexicon.THINGS:
        said = bare_noun(' '.join(words)).split()[:-1]
    elif words[0] in lexicon.ANYTHING:
        said = words[1:]  # "something red"
    else:
        return None
    return (
        ' '.join(said)
        if all(lexicon.SAME_COLOR.get(w, w) in lexicon.COLORS for w in said)
        else None
    )


def _whole(text: str) -> Phrase:
    spans = [match.span() for match in re.finditer(r'\w+', text)]
    return Phrase(spans[0][0], spans[-1][1], True)


def _tokens(text: str) -> list[_Token]:
    """Split into words and groups of words, each with what it does in the sentence."""
    found: list[_Token] = []
    at = 0
    for match in lexicon.WORD.finditer(text):
        if match.start() < at:
            continue  # inside a group
        command, relation = lexicon.GROUPS.match(text, match.start()), None
        # Not "the book which is ...", "the book next to you which is ...".
        is_name = found and (found[-1].kind == 'word' or found[-1].word in lexicon.SELVES)
        if not command and not is_name:
            command = lexicon.WHICH_GROUPS.match(text, match.start())
        if not command:
            relation = lexicon.RELATION_GROUPS.match(text, match.start())
        group = command or relation
        end = group.end() if group else match.end()
        word = ' '.join(text[match.start() : end].lower().replace('’', "'").split()) or '\n'
        kind = _kind(word, found[-1].kind if found else '')
        if group:
            kind = 'command' if command else 'material' if word.startswith('made') else 'relation'
        found.append(_Token(word, match.start(), end, kind))
        at = end
    return [_in_context(found, i) for i in range(len(found))]


def _kind(word: str, before: str) -> str:
    if not word[0].isalnum():
        return 'comma'
    if word in lexicon.DETERMINERS:
        return 'determiner'
    if word in lexicon.CONJUNCTIONS:
        return 'conjunction'
    if word in lexicon.SUBORDINATE and before != 'determiner':
        return 'subordinate'
    if word in lexicon.BODY and before == 'command':
        return 'filler'
    is_name = before == 'determiner' or (before == 'word' and word in lexicon.ALSO_NOUNS)
    if word in lexicon.COMMANDS and not is_name:
        return 'command'
    if word in lexicon.FILLERS and before != 'determiner':
        is_name = word in ('out', 'up') and before == 'word'  # "the pull out couch"
        return 'word' if is_name else 'filler'
    return 'relation' if word in lexicon.RELATIONS else 'word'


def _in_context(tokens: list[_Token], i: int) -> _Token:
    """Decide the words whose part of speech depends on their neighbours."""
    token = tokens[i]
    before = tokens[i - 1].kind if i else 'comma'
    after = tokens[i + 1].kind if i + 1 < len(tokens) else 'comma'
    kind = token.kind
    if _is_self(tokens, i):
        kind = 'self'
    elif token.word == 'that' and after == 'word' and (i == 0 or before not in ('word', 'comma')):
        kind = 'determiner'
    elif token.word == 'which' and after == 'word' and before in ('comma', 'command'):
        kind = 'determiner'  # "which chair is ...?"
    elif token.word in lexicon.WHAT_IS and _tells_a_place(tokens[i + 1 :]):
        kind = 'word'  # "what is on the table?"
    elif token.word == 'where' and before not in ('word', 'relation') and i:
        kind = 'command'  # "do you know where the keys are"
    elif token.word in ('open', 'close') and before != 'comma' and after == 'relation':
        kind = 'relation'  # "the door left open by ..."
    elif token.word == 'and' and _joins_colors(tokens, i):
        kind = 'word'  # "a black and white cushion"
    elif token.word == 'opposite' and before == 'determiner':
        kind = 'word'
    elif token.word in lexicon.PARTICIPLES and kind == 'word' and before != 'determiner':
        # "the chair standing by ...", "standing at the door, ..."; but "the old hanging lamp"
        is_noun = after == 'word'
        if before != 'word':
            is_noun = after not in ('relation', 'determiner', 'filler')
        if before == 'relation' and tokens[i - 1].word in lexicon.IS:
            is_noun = False  # "the mug that's standing right by the sink"
        kind = 'word' if is_noun else 'relation'
    elif token.word == 'of' and before in ('word', 'determiner'):
        previous = tokens[i - 1].word
        is_amount = before == 'determiner' or previous in lexicon.QUANTITIES
        if is_amount or (after == 'word' and previous not in lexicon.SPATIAL_NOUNS):
            kind = 'word'  # "chest of drawers", "all of the chairs"
    return _Token(token.word, token.begin, token.end, kind)


def _is_self(tokens: list[_Token], i: int) -> bool:
    """Say whether a word means where the camera is: "closest to me", "the nearest chair to you"."""
    at = i  # where what names the camera begins
    if tokens[i].word == 'robot' and i and tokens[i - 1].word == 'the':
        if i + 1 < len(tokens) and tokens[i + 1].kind == 'word':  # "the robot vacuum"
            return False
        at = i - 1
    elif tokens[i].word not in lexicon.SELVES:
        return False
    link = tokens[at - 1].word if at else ''
    if link not in ('to', 'from', 'and'):
        return not lexicon.NEARNESS.isdisjoint(link.split())
    # "The nearest chair to me" tells a place, "bring the chair to me" does not.
    first = at - 1
    while first and tokens[first - 1].kind in ('word', 'determiner'):
        first -= 1
    if link == 'and':
        return first > 0 and tokens[first - 1].word == 'between'
    return any(token.word in lexicon.FITTING[link] for token in tokens[first : at - 1])


def _joins_colors(tokens: list[_Token], i: int) -> bool:
    around = [
        lexicon.SAME_COLOR.get(t.word, t.word) for t in (*tokens[i - 1 : i], *tokens[i + 1 : i + 2])
    ]
    names = tokens[i + 2 : i + 3]
    return len(around) == 2 and all(word in lexicon.COLORS for word in around) and bool(names)


def _tells_a_place(tokens: list[_Token]) -> bool:
    """Say whether words begin with how a thing stands: "on", "lying under", "in the room"."""
    if (
        tokens
        and tokens[0].word == 'in'
        and any(token.word in lexicon.PLACES for token in tokens[1:4])
    ):
        return True
    words = [word for token in tokens[:2] for word in token.word.split()]
    first = words[1:] if words and words[0] in lexicon.PARTICIPLES - lexicon.STANDING else words
    return bool(first) and (first[0] in lexicon.STANDING or tokens[0].kind == 'relation')


def _chunks(tokens: list[_Token]) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    current: list[_Token] = []
    link: list[_Token] = []
    sentence = 0

    def finish() -> None:
        nonlocal current, link
        while current and current[-1].word in lexicon.TRAILING and len(current) > 1:
            current.pop()
        if current:
            kinds = frozenset(token.kind for token in link)
            verbs = {token.word for token in link if token.kind not in ('comma', 'filler')}
            is_told = not verbs.isdisjoint(lexicon.TELLING)
            verb_only = (
                not verbs.isdisjoint(lexicon.COPULAS)
                and verbs <= lexicon.COPULAS | lexicon.PRONOUNS
            )
            words = [token.word for token in link if token.kind == 'relation']
            at = max((i for i, word in enumerate(words) if word in lexicon.IT), default=len(words))
            is_of_it = any(word not in lexicon.COPULAS for word in words[at + 1 :])
            is_of_it |= bool(chunks and words) and link[0].word in lexicon.PERSONS
            chunks.append(_Chunk(current, kinds, verb_only, sentence, is_told, is_of_it))
            current, link = [], []

    for token in tokens:
        starts = token.kind == 'determiner' and any(t.kind in ('word', 'self') for t in current)
        if starts and current[-1].word != 'of':
            finish()
        if token.kind in ('word', 'determiner', 'self'):
            current.append(token)
        else:
            finish()
            link.append(token)
            sentence += token.word in lexicon.ENDS
    finish()
    return chunks


def _names_something(chunk: _Chunk) -> bool:
    """Drop "the left", "red" in "the chair is red", "wood" in "made of wood", "any idea"."""
    names = chunk.names
    has_determiner = chunk.tokens[0].kind == 'determiner'
    if not names or set(names) <= lexicon.SPATIAL_NOUNS | lexicon.FAR_OR_NEAR:
        return False
    if names[-1] in lexicon.VAGUE and set(names[:-1]) <= lexicon.VAGUE | lexicon.DEGREES:
        return False
    if not has_determiner and set(names) <= lexicon.QUANTITIES | lexicon.DEGREES:
        return False
    if 'material' in chunk.link or (chunk.verb_only and not has_determiner):
        return False
    return names != ['one'] or has_determiner


def _without_addressed(chunks: list[_Chunk]) -> list[_Chunk]:
    """Drop who is spoken to: "robot, go to the chair", "Spot, find the mug", "the mug, robot"."""
    if len(chunks) < 2:
        return chunks
    (first, second), last = chunks[:2], chunks[-1]
    is_told = 'command' in second.link and 'conjunction' not in second.link
    is_told = is_told and not second.is_of_it
    is_name = len(first.tokens) <= 2 and _is_bare(first) and first.sentence == second.sentence
    is_name = is_name or (_is_addressed(first) and is_told)
    if is_name and (is_told or (_is_addressed(first) and second.link == {'comma'})):
        return chunks[1:]
    return chunks[:-1] if _is_addressed(last) and last.link == {'comma'} else chunks


def _is_bare(chunk: _Chunk) -> bool:
    return chunk.tokens[0].kind == 'word' and 'relation' not in chunk.link


def _is_addressed(chunk: _Chunk) -> bool:
    return _is_bare(chunk) and all(token.word in lexicon.ADDRESSED for token in chunk.tokens)


def _targets(chunks: list[_Chunk]) -> list[bool]:
    """A phrase that a relation leads to is an anchor; one that is enumerated is like the last."""
    targets: list[bool] = []
    for i, chunk in enumerate(chunks):
        if 'subordinate' in chunk.link or chunk.is_of_it:
            targets.append(False)  # "if you stand at the window, ..."
        elif i and chunk.verb_only and chunks[i - 1].is_anchor and not any(targets):
            targets.append(True)  # "next to the piano stands a small stool"
        elif 'command' in chunk.link:
            targets.append(True)
        elif 'relation' in chunk.link or 'material' in chunk.link:
            # "this is a chair", "it is the lamp by ..."
            is_subject = chunk.verb_only and 'comma' not in chunk.link and not i
            targets.append(is_subject)
        elif i and not targets[-1]:
            # After "between the table and ..." another anchor; after "next to the sofa, ..." the
            # thing itself.
            targets.append('conjunction' not in chunk.link and not any(targets))
        else:
            targets.append(True)
    return targets if any(targets) else [i == 0 for i in range(len(chunks))]


def _without_ones(chunks: list[_Chunk], targets: list[bool]) -> tuple[list[_Chunk], list[bool]]:
    """Drop "the metal one" and "that's the one" where what it is has been named before."""
    kept = []
    for i, chunk in enumerate(chunks):
        is_one = chunk.names[-1] == 'one' and 'conjunction' not in chunk.link
        is_named = any(other.names[-1] != 'one' for other in chunks[:i])
        if not (is_one and is_named and (targets[i] or chunk.names == ['one'])):
            kept.append(i)
    if not any(targets[i] for i in kept):
        targets = [i == kept[0] for i in range(len(chunks))]
    return [chunks[i] for i in kept], [targets[i] for i in kept]


def _without_camera_as_target(text: str, phrases: list[Phrase]) -> list[Phrase]:
    """Ask for no camera: "come next to me" is one phrase."""
    things = [phrase for phrase in phrases if not phrase.is_camera]
    if not things:
        return [_whole(text)]
    first = None if any(phrase.is_target for phrase in things) else things[0]
    return [
        replace(phrase, is_target=phrase is first or (phrase.is_target and not phrase.is_camera))
        for phrase in phrases
    ]


def _of_description(chunks: list[_Chunk], targets: list[bool]) -> list[bool]:
    """Keep the target of the first sentence that has one: "a desk", then "there is a lamp on it".

    Most descriptions begin with what they are of (ScanRefer). Further requests stay.
    """
    first = next(chunk.sentence for chunk, is_target in zip(chunks, targets) if is_target)
    return [
        is_target and (chunk.sentence == first or ('command' in chunk.link and not chunk.is_told))
        for chunk, is_target in zip(chunks, targets)
    ]
