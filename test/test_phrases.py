"""Noun phrases of queries: the target in angle brackets, what is only mentioned in square ones."""

import re
from pathlib import Path

import pytest

from lift_gs_ros.model.phrases import Phrase, is_negated, is_place, noun_phrases

QUERIES = [
    '<which chair> is closest to [the door]?',
    'show me <which lamp> is on [the desk]',
    '<what is> behind [the door]?',
    '<every chair> except [the red chair]',
    '<the black chair> close to [the table] near [the wall]',
    'find me <the red mug>',
    'find me <the red mug> next to [the sink].',
    'Where is <the trash can>?',
    "where's <my phone>",
    'in front of [the sofa], <the lamp>',
    ', in front of [the sofa], <the lamp>',
    'next to [the sink] find <the mug>',
    '<chair>',
    '<all red chairs>',
    '<all of the chairs>',
    '<one of the chairs> by [the window]',
    'show me <the grey chair> closest to [the door]',
    '<the closest chair> to [the door]',
    '<the chair> nearest [the door]',
    '<the lamp> standing on [the table]',
    '<the old hanging lamp>',
    '<hanging plant> next to [the sofa]',
    'counting from [the lamp], <the first chair>',
    'where is <the second chair> counted from [the red door]?',
    'standing at [the gray door], <the chair> to the right of [the table]',
    'show me <the rug> to the left of [the bottle] as seen from [the counter]',
    '<the picture> hanging above [the sofa]',
    '<the person> holding [a cup]',
    '<the chair> between [the table] and [the sofa]',
    'find <the chair> and <the table>',
    '<the chair> and <the table> near [the wall]',
    '<chair>, <table>, <lamp>',
    '<the leg> of [the table]',
    '<a chest of drawers>',
    '<a bottle of water> on [the desk]',
    '<the table> made of wood',
    '<the chair> to the left of [the sofa]',
    '<the chair> on the left',
    '<the left chair>',
    '<the chair> on the left side of [the bed]',
    '<the chair> right next to [the window]',
    '<the second chair> from the left',
    '<the chair> that is next to [the table]',
    'bring me <that box>',
    '<the chair> that is red',
    '<the lamp> is on [the table]',
    'this is <a wooden chair>. it is next to [the door].',
    'it is <a white towel> on top of [the toilet] . it is red .',
    'there is <a black desk>. there is [an office chair] in front of [this desk].',
    '<the shelf> is brown. there is [a plant] on it. there are [candles] on [its top shelf].',
    'find <the mug>. it is on [the table]',
    '<the mug> is on [the table]. find <the chair>.',
    'where is <the mug>? where is <the chair>?',
    '<chair>. <red table>. <sofa>.',
    'is there <a plant> in [the room]?',
    'can you please go to <the door>',
    "I'm looking for <the remote control> for [the TV]",
    'pick up <the t-shirt> under [the bed]',
    '<the one> on [the shelf]',
    '<two mugs> on [the kitchen counter], close to [the stove]',
    'FIND <THE RED CHAIR>',
    '  <the   red mug>  ',
    '<the box> opposite [the door]',
    '<the opposite wall>',
    '<the chair> with [red cushions]',
    'on [the table] there is <a mug>',
    '<the café table> near [the naïve painting]',
    '<der rote Stuhl neben dem Tisch>',
    '<la chaise rouge à côté de la table>',
    '<赤い椅子>',
    '<красный стул>',
    '🪑 <chair>',
    '<what is> on [the table]',
    "<what's> under [the sofa]",
    'what is <the thing> on [the table]',
    'is there <anything> under [the desk]?',
    '<find>',
    'it is <the lamp> behind [the TV]',
    '<the mug>, not [the red one]',
    '<the laptop> that someone left open on [the desk]',
    '<the object> used for [cooking]',
    '<the tallest shelf> in the corner of [the room]',
    'I want to sit down, take me to <a comfy armchair>',
    'starting at [the door], <the first chair>',
    'looking from [the grey door], <the cabinet> on the left side of [the ball]',
    'point out <the two violet bottles>',
    'go to <the chair> with the shortest way to [the table]',
    '<the yellow chair> alongside [the bookshelf]',
    '<the round table>',
    '<a black and white cushion>',
    '<the black and white cushion> on [the bed]',
    '<red chair> and <blue chair>',
    '<red> and <blue>',
    '<T.V> on [the white cupboard]',
    '<the toaster> in-between [the bowl] and [the kettle]',
    '<black carry bag> under [the white table]',
    'do you know where <the spare keys> are?',
    "I can't for the life of me find <my reading glasses>, dear, would you have a look?",
    'any chance you can spot <a phone charger>?',
    'if you stand at [the window], <the stool> in front of [the counter]',
    'When you look at [the bookcase] from [the desk], which is <the plant> on its right-hand side?',
    'as seen from [the door], which one is <the cabinet> right of [the whiteboard]?',
    'next to [the piano] stands <a small stool>, could you point to it?',
    "<the red mug> that's sitting right by [the sink], please",
    'on [the shelf] there should be <a stapler>, point it out',
    "I dropped <an earring> and I reckon it's down by [the table leg]",
    '<the jacket> draped over the back of [the chair], whose is it?',
    'show me <the TV stand> next to [the bed]',
    '<the pull out couch>',
    '<the mug> I left on [the table]',
    '<mug> I left on [the table]',
    '<the mug>, I left it on [the table]',
    'find <the chair> you see near [the door]',
    'robot I want <the mug>',
    '<love seat> by [the window]',
    'point at <the laser pointer>',
    'get your pointer on <the ladder>',
    '<the bunk bed> next to [the door]',
    "do you see <the clock> over [the door]? That's the one, point to it",
    'verify the position of <the router> relative to [the server rack]',
    'robot robot robot! where is <the ball>?',
    'robot, go to <the red chair>',
    'robot, head for <the second chair> from [the door]',
    'robot go to <the red chair>',
    'hey robot, <the red chair>',
    'Jarvis, could you please walk over to <the sofa>?',
    'find <the mug>, robot',
    'find <the robot>, robot',
    '<the robot> next to [the sofa]',
    '<robot>',
    'hand me <the mug>',
    'approach <the table> next to [the sofa]',
    '<red chair>, please, and <a table>',
    '<red chair>, where is it?',
    '<chair> by [the door], find <the lamp>',
    '<chair>. find <the lamp>',
]


# Requests as people of all kinds might make them, written by somebody who had not seen the parser.
REQUESTS = (Path(__file__).parent / 'data' / 'requests.txt').read_text().splitlines()

Marked = tuple[str, int, bool]  # phrase, where it begins, whether it is a target


def read_marked(marked: str) -> tuple[list[Marked], list[Marked]]:
    """Return the marked phrases of a query, and those that are found without the marks."""
    text, expected = '', []
    for part in re.split(r'(<[^>]*>|\[[^\]]*\])', marked):
        inner = part[1:-1] if part[:1] in ('<', '[') else part
        if inner != part:
            expected.append((inner, len(text), part[0] == '<'))
        text += inner
    found = [(text[p.begin : p.end], p.begin, p.is_target) for p in noun_phrases(text)]
    return expected, found


@pytest.mark.parametrize('marked', QUERIES)
def test_phrases_and_their_targets_have_exact_characters(marked):
    expected, found = read_marked(marked)
    assert found == expected


def test_most_requests_are_read_as_they_are_meant():
    read = [read_marked(marked) for marked in REQUESTS]
    assert len(read) == 270
    exact = sum(expected == found for expected, found in read)
    aims = [[[p for p in own if p[2]] for own in pair] for pair in read]
    assert exact >= 210
    assert sum(expected == found for expected, found in aims) >= 225


@pytest.mark.parametrize('text', ['', '   ', '?!', '\n', '...'])
def test_text_without_words_has_no_phrases(text):
    assert noun_phrases(text) == []


def test_any_text_with_words_has_a_target():
    for text in ['of of of', 'the', 'it is', 'next to', 'and', 'the left', 'x' * 100_000]:
        assert any(phrase.is_target for phrase in noun_phrases(text)), text[:20]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('everything', ''),
        ('show me all the objects', ''),
        ('What’s on the table?', ''),
        ('what  is lying under the bed', ''),
        ('what can you see on the desk?', ''),
        ('what do you see?', ''),
        ('what is in the living room?', ''),
        ('is there anything next to the sofa in the kitchen?', ''),
        ('list everything in the room', ''),
        ('find all the Red things on the shelf', 'red'),
        ('something violet', 'violet'),
        ('the red thing next to the blue thing', 'red'),
        ('what is near me', ''),
        # It takes a name, or more than one thing by itself, to say what is meant.
        ('every chair on the table', None),
        ('the object table', None),
        ('the tallest thing', None),
        ('the thing closest to the door', None),
        ('something to drink', None),
        ('find something to sit on', None),
        ('the object used for cooking', None),
        ('everything else', None),
        ('remove everything from the table', None),
        ('everything except the chairs', None),
        ('everything between the table and the lamp', None),
        ('everything on the table next to the chair', None),
        ('the chair and everything on the table', None),
        ('the red thing. the blue thing', None),
        ('what is that chair', None),
        ('what is it', None),
        ('what is behind the sofa?', None),
    ],
)
def test_a_target_that_names_no_kind_is_open_where_that_is_understood(text, said):
    phrases = noun_phrases(text)
    assert [p.open for p in phrases if p.open is not None] == ([] if said is None else [said])
    assert all(phrase.is_target for phrase in phrases if phrase.open is not None)


@pytest.mark.parametrize(
    ('text', 'each'),
    [
        ('the mugs on the table', True),
        ('show me all the mugs on the table', True),
        ('every mug on the table', True),
        ('which two chairs are next to the window?', True),
        ('two of the chairs next to the table', True),
        ('everything on the table', True),
        ('the mug on the table', False),
        ('one of the mugs on the table', False),
        ('the chest of drawers next to the bed', False),
        ('the cactus next to the glass table', False),
        ('all mugs', False),
        # What stands so depends on what else does.
        ('the chairs closest to the door', False),
        ('the two tallest chairs next to the door', False),
        ('the mugs that are not on the table', False),
        ('the mugs and the plates on the table', False),
    ],
)
def test_several_things_are_told_from_one_where_each_may_stand_so(text, each):
    assert [phrase.each for phrase in noun_phrases(text) if phrase.is_target][0] is each


@pytest.mark.parametrize(
    ('words', 'denied'),
    [("that isn’t on", True), ('that is not on', True), ('without', True), ('on', False),
     ('next to a knotty', False)],
)  # fmt: skip
def test_words_that_deny(words, denied):
    assert is_negated(words) is denied


@pytest.mark.parametrize(
    ('phrase', 'expected'),
    [('the room', True), ('the whole living room', True), ('kitchen', True), ('the table', False)],
)
def test_surroundings_are_no_things(phrase, expected):
    assert is_place(phrase) == expected


@pytest.mark.parametrize(
    ('text', 'camera'),
    [
        ('the chair closest to me', 'me'),
        ('go to the closest chair to you', 'you'),
        ('the chair nearest you', 'you'),
        ('bring me the mug next to you', 'you'),
        ('the chair furthest away from the robot', 'the robot'),
        ('the third chair from you', 'you'),
        ('not far from us there is a chair', 'us'),
        ('can you see the cup beside yourself, please', 'yourself'),
        ('find the chair near the table closest to me', 'me'),
        ('the chair between me and the desk', 'me'),
        ('the chair between the desk and the robot', 'the robot'),
        ('the mug left of the laptop, seen from me', 'me'),
        ('the chair next to you which is red', 'you'),
        ('the chair that you see next to you', 'you'),
        # Who asks, who is asked, and what is somewhere else.
        ('bring the mug to me', None),
        ('bring the second book to me', None),
        ('give me the nearest mug', None),
        ('next, bring the mug to me', None),
        ('find the mug near the sink and bring it to me', None),
        ('close the drawer by the door and come to me', None),
        ('the chair nearest the door and me', None),
        ('can you find us a chair near the robot vacuum', None),
        ('find the robot', None),
        ('the chair closest to my desk', None),
        ('robot, come to the table near the door', None),
        ('the chair to your left', None),
    ],
)
def test_where_the_camera_is_is_told_from_what_it_sees(text, camera):
    phrases = noun_phrases(text)
    cameras = [text[p.begin : p.end] for p in phrases if p.is_camera]
    assert cameras == ([] if camera is None else [camera])
    assert [p.is_target for p in phrases].count(True) == 1
    assert not any(p.is_target and p.is_camera for p in phrases)


@pytest.mark.parametrize('text', ['come closer to me', 'near you', 'go next to the robot'])
def test_a_request_to_come_is_one_for_whatever_it_says(text):
    assert noun_phrases(text) == [Phrase(0, len(text), is_target=True)]


def test_lines_are_sentences():
    phrases = noun_phrases('a chair\nthe red lamp\n')
    assert [(p.begin, p.end, p.is_target) for p in phrases] == [(0, 7, True), (8, 20, True)]
