"""What the network is asked for a query."""

import numpy as np
import pytest

from lift_gs_ros.grounding.sentences import MOST_THINGS, Sentence


@pytest.mark.parametrize(
    ('query', 'asked'),
    [
        ('drive to the mug next to the sink', ['the mug', 'the sink']),
        ('the chair between the door and the desk', ['the chair', 'the door', 'the desk']),
        ('everything on the table', [None, 'the table']),
        ('go to the red chair', ['go to the red chair']),
        ('chair. red table', ['chair. red table'] * 2),
        ('what do you see?', ['what do you see?']),
        ('der Stuhl neben dem Tisch', ['der Stuhl neben dem Tisch']),
        ('???', []),
    ],
)
def test_what_is_compared_is_asked_by_itself_and_all_else_as_it_is(query, asked):
    sentence = Sentence.of_things(query)
    assert sentence.asked == asked
    for text, (begin, end), name in zip(sentence.asked, sentence.spans, sentence.names):
        assert text is None or text[begin:end] == name
    assert Sentence.whole(query).asked == [query] * len(asked)


@pytest.mark.parametrize(
    ('query', 'judged', 'asked'),
    [
        ('go to the chair closest to me', 'go to the chair closest to me', ['the chair', None]),
        ('the lamp farthest from the robot', 'the lamp farthest from the robot',
         ['the lamp', None]),
        ('the chair between you and the desk', 'the chair between you and the desk',
         ['the chair', None, 'the desk']),
        ('what is next to you?', 'what is next to you?', [None, None]),
        ('all mugs next to me', 'everything next to me', ['all mugs', None]),
        ('where is the nearest chair?', 'where is the nearest chair to me',
         ['the nearest chair', None]),
        ('which chair is closest?', 'which chair is closest to me', ['which chair', None]),
        ('the farthest lamp in the room', 'the farthest lamp in the room from me',
         ['the farthest lamp', 'the room', None]),
        ('the mug to the left of the laptop.', 'the mug to the left of the laptop, seen from me',
         ['the mug', 'the laptop', None]),
        ('right of the sofa, the lamp', 'right of the sofa, the lamp, seen from me',
         ['the sofa', 'the lamp', None]),
        ('a mug left of the laptop, seen from you', 'a mug left of the laptop, seen from you',
         ['a mug', 'the laptop', None]),
        ('bring me the mug on your right-hand side, please',
         'the mug right of the others, seen from me', ['the mug', None, None]),
        ('go to the left door in the hall', 'the left door left of the others, seen from me',
         ['the left door', None, None]),
    ],
)  # fmt: skip
def test_what_is_unsaid_of_the_camera_is_there_to_be_judged(query, judged, asked):
    camera = np.array([1.0, 2.0, 1.2])
    sentence = Sentence.of_things(query, camera)
    text, phrases = sentence.to_judge
    assert (text, sentence.asked) == (judged, asked)
    assert sentence.camera is camera
    own = [text[phrase.begin : phrase.end] for phrase in phrases]
    assert [name for name, p in zip(own, phrases) if p.is_camera] == [
        name for name in own if name in ('me', 'you', 'the robot')
    ]
    assert [name for name, p in zip(own, phrases) if p.is_others] == [
        name for name in own if name == 'the others'
    ]
    for name, said, phrase in zip(own, sentence.names, phrases):
        assert said in (name, '', 'all mugs')
        assert said or phrase.is_camera or phrase.is_others


@pytest.mark.parametrize(
    'query',
    [
        'the nearest chair to the door',
        'the chair next to the sofa',
        'chair. nearest lamp',
        'the mug right next to the laptop',
        'the mug I left on the table',
        'the mug left of the laptop, seen from the door',
        'the right pillow on the sofa',
        'the chairs on the left',
        'everything on the left',
        'bring the mug to me',
        'turn to the right and find the chair',
    ],
)
def test_what_does_not_depend_on_the_camera_is_asked_as_without_one(query):
    with_camera, without = Sentence.of_things(query, np.zeros(3)), Sentence.of_things(query)
    assert with_camera == without
    assert without.camera is None


@pytest.mark.parametrize('query', ['the chair closest to me', 'what is next to me?'])
def test_without_a_camera_only_the_rest_is_read(query):
    sentence = Sentence.of_things(query)
    assert (sentence.to_judge[0], sentence.asked, sentence.camera) == (query, [query], None)
    [phrase] = sentence.phrases
    assert (phrase.open, phrase.each) == (None, False)


def test_a_query_is_not_as_many_questions_as_somebody_likes():
    def chain(things: int) -> str:
        return ' next to '.join(f'the chair{i:02d}' for i in range(things))

    assert len(Sentence.of_things(chain(MOST_THINGS)).texts) == MOST_THINGS
    assert Sentence.of_things(chain(MOST_THINGS + 1)).texts == [chain(MOST_THINGS + 1)]
    assert Sentence.of_things('the mug on the desk behind the mug').texts == ['the mug', 'the desk']


def test_several_things_are_judged_as_everything_that_stands_so():
    sentence = Sentence.whole('find all the mugs on the table in the kitchen')
    text, phrases = sentence.to_judge
    assert text == 'find everything on the table in the kitchen'
    assert [text[p.begin : p.end] for p in phrases] == ['everything', 'the table', 'the kitchen']
    assert sentence.names == ['all the mugs', 'the table', 'the kitchen']
    single = Sentence.whole('find the mug on the table')
    assert single.to_judge == (single.text, single.phrases)
