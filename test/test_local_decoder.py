"""Decoding several sentences at once, and only where masks reach, against the plain decoder."""

import dataclasses

import numpy as np
import pytest
import torch
from test_model import CONFIG, cloud, words

from lift_gs_ros.model import local_decoder, tiles
from lift_gs_ros.model.lift_gs import Decoded, LiftGS, LocallyDecoded
from lift_gs_ros.model.local_decoder import decode_locally
from lift_gs_ros.model.tiles import Tiles

SENTENCES = [words(4, 0), words(7, 1), words(1, 2), words(0), words(5, 3)]


@pytest.fixture(scope='module')
def model() -> LiftGS:
    torch.manual_seed(3)
    model = LiftGS(CONFIG, 'torch').eval()
    with torch.no_grad():  # small masks here and there, as training makes them
        model.decoder.seeds.placement.weight.normal_(std=0.02)
        model.decoder.seeds.placement.bias[3] = -0.7  # a radius of half a metre
        model.mask_bias += 1.5
    return model


@pytest.fixture(scope='module')
def scene(model):
    """Six clouds in a row, 2.4 m from one to the next, and as tiles."""
    with torch.inference_mode():
        clouds = [cloud(i, 150 + 40 * i) for i in range(6)]
        encodings = model.encode(
            [(p + np.float32([2.4 * i, 0, 0]), c) for i, (p, c) in enumerate(clouds)]
        )
        yield encodings, Tiles(encodings)


def test_the_tokens_around_a_place_are_found_a_kilometre_from_the_origin_too(model):
    positions, colors = cloud(0)
    with torch.inference_mode():
        [encoding] = model.encode([(positions + np.float32([1032, -1032, 0]), colors)])
        centers = encoding.token_positions[:30]
        allowed = torch.ones(30, 1, dtype=torch.bool)
        [inside] = Tiles([encoding]).near(centers, allowed, 0.5)
    exact = centers.double()[:, None] - encoding.token_positions.double()
    rows, places = (exact.norm(dim=2) < 0.5).nonzero(as_tuple=True)
    assert torch.equal(inside.masks, rows)
    assert torch.equal(inside.places, places)


def answer(model, tiles: Tiles, sentences, max_tiles: int = 99) -> list[LocallyDecoded]:
    return model.decode_many(tiles, [model.read(tiles, own, max_tiles) for own in sentences])


def dense_mask(decoded: LocallyDecoded, encodings, proposal: int, threshold: float) -> dict:
    """Points of a mask as (encoding, point) -> probability, by looking at all of them."""
    found = {}
    for i in range(len(encodings)):
        logits = logits_of(decoded, i)[:, proposal]
        for point, probability in enumerate(logits.sigmoid().tolist()):
            if decoded.reading.allowed[i] and probability >= threshold:
                found[i, point] = probability
    return found


def assert_same(local: LocallyDecoded, plain: Decoded, atol: float = 1e-3) -> None:
    torch.testing.assert_close(local.correspondence, plain.correspondence, atol=atol, rtol=1e-3)
    tiles = local.reading.allowed.nonzero()[:, 0].tolist()
    logits = [logits_of(local, tile) for tile in tiles]
    torch.testing.assert_close(torch.cat(logits), plain.mask_logits(), atol=atol, rtol=1e-3)


def assert_close(one: LocallyDecoded, other: LocallyDecoded) -> None:
    for name in ('mask_embeddings', 'correspondence'):
        a, b = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3, msg=name)


def logits_of(local: LocallyDecoded, tile: int) -> torch.Tensor:
    return local.tiles.logits(local.mask_embeddings, local.mask_bias, tile, points=True)


def test_sentences_decoded_together_are_answered_as_one_by_one_by_the_plain_decoder(model, scene):
    encodings, as_tiles = scene
    together = answer(model, as_tiles, SENTENCES)
    with torch.inference_mode():
        for tokens, local in zip(SENTENCES, together):
            assert_same(local, model.decode(encodings, tokens))
            [alone] = answer(model, as_tiles, [tokens])
            assert_close(local, alone)
            assert local.correspondence.shape == (len(local.mask_embeddings), len(tokens.spans) + 1)


def test_each_sentence_has_its_own_encodings_of_a_large_map(model, scene):
    encodings, as_tiles = scene
    together = answer(model, as_tiles, SENTENCES, 3)
    assert len({tuple(local.reading.allowed.tolist()) for local in together}) > 1
    with torch.inference_mode():
        for tokens, local in zip(SENTENCES, together):
            assert int(local.reading.allowed.sum()) == 3
            chosen = [e for e, wanted in zip(encodings, local.reading.allowed) if wanted]
            assert_same(local, model.decode(chosen, tokens))


def test_the_encodings_chosen_are_those_most_like_a_word(model, scene):
    encodings, _ = scene
    tokens = words(2)
    with torch.inference_mode():
        target = model.text_to_feature(torch.from_numpy(tokens.embeddings))[1]
        features = encodings[4].token_features.clone()
        features[3] = 2 * target
        changed = [*encodings[:4], dataclasses.replace(encodings[4], token_features=features)]
        [local] = answer(model, Tiles(changed), [tokens], 1)
    assert local.reading.allowed.tolist() == [False] * 4 + [True]


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 0.6])
def test_masks_are_those_that_looking_at_every_point_finds(model, scene, threshold):
    encodings, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)], 4)
    sizes = []
    for proposal in range(len(local.mask_embeddings)):
        expected = dense_mask(local, encodings, proposal, threshold)
        found = {
            (inside.tile, place): probability
            for inside in local.mask(proposal, threshold)
            for place, probability in zip(inside.places.tolist(), inside.probabilities.tolist())
        }
        assert found == pytest.approx(expected, abs=1e-5)
        sizes.append(len(found))
    assert max(sizes) > 0


def test_a_tile_that_is_not_reached_holds_no_point_of_the_mask(model, scene):
    encodings, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)])
    reached = as_tiles.reached(local.mask_embeddings, local.mask_bias)
    assert not reached.all(), 'nothing was left out: the test says nothing'
    for i in range(len(encodings)):
        assert logits_of(local, i)[:, ~reached[:, i]].max() < 0


def test_small_limits_change_the_cost_and_not_the_answer(model, scene, monkeypatch):
    _, as_tiles = scene
    usual = answer(model, as_tiles, SENTENCES, 5)
    monkeypatch.setattr(tiles, 'MASKS_AT_ONCE', 3)
    monkeypatch.setattr(local_decoder, 'WIDE', 5)
    monkeypatch.setattr(local_decoder, 'ROWS_AT_ONCE', 2)
    monkeypatch.setattr(local_decoder, 'CANDIDATES', 12)  # too few: seeds run out of places
    for one, other in zip(usual, answer(model, as_tiles, SENTENCES, 5)):
        assert_close(one, other)


def test_masks_that_are_empty_keep_their_faint_tail(model, scene):
    [encoding, *_], _ = scene
    bias = torch.tensor(-30.0)
    reading = model.read(Tiles([encoding]), words(4), max_tiles=99)
    local = decode_locally(model.decoder, Tiles([encoding]), [reading], bias)
    with torch.inference_mode():
        expected = model.decoder(encoding, reading.embeddings, reading.features, bias)[-1]
    [(masks, correspondence, _)] = local
    torch.testing.assert_close(masks, expected.mask_embeddings, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(correspondence, expected.correspondence, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('points', [False, True])
def test_masks_that_are_empty_stay_in_the_tile_that_they_began_in(model, scene, points):
    encodings, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)])
    home = torch.arange(len(local.mask_embeddings)) % len(encodings)
    allowed = torch.ones(len(home), len(encodings), dtype=torch.bool)
    found = list(as_tiles.inside(local.mask_embeddings, torch.tensor(-30.0), allowed, home, points))
    places = torch.zeros(len(home), len(encodings), dtype=torch.int64)
    for inside in found:
        places[:, inside.tile] += torch.bincount(inside.masks, minlength=len(home))
    sizes = [len(e.positions if points else e.token_positions) for e in encodings]
    expected = torch.zeros_like(places)
    expected[torch.arange(len(home)), home] = torch.tensor(sizes)[home]
    assert torch.equal(places, expected)


def test_no_encodings_are_refused(model):
    with pytest.raises(ValueError, match='no encodings'):
        Tiles([])
