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
    ('query', 'text', 'asked'),
    [
        ('go to the chair closest to me', '', ['the chair', None]),
        ('where is the nearest chair?', 'where is the nearest chair to me',
         ['the nearest chair', None]),
        ('the farthest lamp in the room', 'the farthest lamp in the room from me',
         ['the farthest lamp', 'the room', None]),
        ('what is next to you?', '', [None, None]),
        ('the chair between you and the desk', '', ['the chair', None, 'the desk']),
        ('the chair next to the desk', '', ['the chair', 'the desk']),
    ],
)  # fmt: skip
def test_the_camera_is_not_asked_for(query, text, asked):
    camera = np.array([1.0, 2.0, 1.2])
    sentence = Sentence.of_things(query, camera)
    assert (sentence.text, sentence.asked) == (text or query, asked)
    is_camera = [phrase.is_camera for phrase in sentence.phrases]
    assert is_camera == [name in ('me', 'you') for name in sentence.names]
    assert (sentence.camera is camera) == Sentence.mentions_camera(query) == any(is_camera)


@pytest.mark.parametrize(
    'query', ['the nearest chair to the door', 'the chair next to the sofa', 'chair. nearest lamp']
)
def test_what_stands_to_something_else_does_not_depend_on_the_camera(query):
    assert not Sentence.mentions_camera(query)
    assert Sentence.of_things(query, np.zeros(3)) == Sentence.of_things(query)


@pytest.mark.parametrize('query', ['the chair closest to me', 'what is next to me?'])
def test_without_a_camera_only_the_rest_is_read(query):
    sentence = Sentence.of_things(query)
    assert (sentence.text, sentence.asked, sentence.camera) == (query, [query], None)
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
