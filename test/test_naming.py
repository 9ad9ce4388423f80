"""Names against all the other names that something might have."""

import pytest
import torch

from lift_gs_ros.model.checkpoint import load_checkpoint
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.naming import EVERYDAY_NOUNS, Naming
from lift_gs_ros.model.phrases import bare_noun, noun_phrases
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room


@pytest.fixture(scope='module')
def language():
    return load_language_encoder('minilm')


@pytest.fixture(scope='module')
def model():
    return load_checkpoint('', 'cpu')


@pytest.fixture(scope='module')
def features(model, language):
    """What the encoder would say of a perfect chair: the feature of the word."""

    def of(text: str) -> torch.Tensor:
        return model.text_features(language.encode_batch([text])).detach()

    return of


def test_a_thing_answers_to_its_own_name_and_not_to_another(model, language, features):
    naming = Naming(model, language)
    things = torch.cat([features(noun) for noun in ('chair', 'door', 'lamp')])
    likely = torch.stack(
        [naming.probability(things, f'the {n}') for n in ('chair', 'door', 'lamp')]
    )
    own = likely.diagonal()
    assert likely.shape == (3, 3)
    assert (own > 0.8).all()
    assert (likely - torch.diag(own) < 0.5 * own.min()).all()
    assert ((likely >= 0) & (likely <= 1)).all()


def test_a_color_competes_with_other_colors_of_the_same_thing(model, language, features):
    naming = Naming(model, language)
    colors = ('red', 'blue', 'grey', 'brown')
    chairs = torch.cat([features(f'{color} chair') for color in colors])
    likely = torch.stack([naming.probability(chairs, f'the {color} chair') for color in colors])
    own = likely.diagonal()
    assert (own > 0.6).all()
    assert (likely - torch.diag(own) < 0.6 * own.min()).all()
    # Nothing is asked of the colour where none is named.
    assert (naming.probability(chairs, 'the chair') > 0.9).all()
    assert torch.allclose(
        *(naming.probability(chairs, f'{grey} chair') for grey in ('grey', 'gray')), atol=0.2
    )
    purple = features('purple chair')
    for chair in (purple, features('red chair')):
        said = [naming.probability(chair, f'the {color} chair') for color in ('purple', 'violet')]
        assert (torch.cat(said) > 0.6).all() if chair is purple else (torch.cat(said) < 0.4).all()


def test_the_length_of_a_feature_does_not_matter(model, language, features):
    naming, chair = Naming(model, language), features('chair')
    assert torch.allclose(
        naming.probability(chair, 'a chair'), naming.probability(7 * chair, 'a chair')
    )


def test_another_word_for_the_same_does_not_compete_with_a_name(model, language, features):
    """Though both "sofa" and "couch" are among the nouns."""
    assert {'sofa', 'couch'} <= set(EVERYDAY_NOUNS)
    naming, sofa = Naming(model, language), features('sofa')
    assert naming.probability(sofa, 'the sofa') > 0.8
    assert naming.probability(sofa, 'a couch') > 0.8


def test_what_is_there_is_named_once_and_by_its_own_name(model, language, features):
    naming = Naming(model, language)
    there = torch.cat([features(noun) for noun in ('sofa', 'lamp', 'wall', 'sofa')])
    names = naming.names_of(there)
    assert 'lamp' in names
    assert len({'sofa', 'couch'} & set(names)) == 1
    assert not {'wall', 'bathtub'} & set(names)


def test_nouns_are_single_and_differ():
    assert len(set(EVERYDAY_NOUNS)) == len(EVERYDAY_NOUNS) > 80


@pytest.mark.parametrize(
    ('phrase', 'name'),
    [
        ('the red chair', 'red chair'),
        ('The second closest black chair', 'black chair'),
        ('all of the chairs', 'chairs'),
        ('chair', 'chair'),
        ('the other one', 'the other one'),  # nothing is left: as it is
        ('赤い椅子', '赤い椅子'),
    ],
)
def test_what_stands_before_a_name_is_left_out(phrase, name):
    assert bare_noun(phrase) == name


def test_sentences_of_simulated_rooms_are_taken_apart_as_they_were_made():
    for seed in range(12):
        for expression in make_expressions(make_room(seed, 'train')):
            phrases = noun_phrases(expression.text)
            found = [expression.text[p.begin : p.end] for p in phrases]
            meant = [expression.text[slice(*m.span)] for m in expression.mentions]
            assert len(found) == len(meant), expression.text
            assert all(own in phrase for own, phrase in zip(meant, found)), expression.text
            targets = [text for text, p in zip(found, phrases) if p.is_target]
            assert any(expression.text[slice(*expression.target_span)] in t for t in targets)
