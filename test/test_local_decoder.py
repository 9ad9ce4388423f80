"""Decoding several sentences at once, and only where masks reach, against the plain decoder."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from test_model import CONFIG, cloud, words

from lift_gs_ros.model import lift_gs, local_decoder, questions, tiles
from lift_gs_ros.model.lift_gs import Decoded, LiftGS
from lift_gs_ros.model.local_decoder import Outcome, decode_locally
from lift_gs_ros.model.questions import Question, ask_part, ask_whole, glances, share_out
from lift_gs_ros.model.tiles import Tiles, moved

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


@dataclass(frozen=True)
class Local:
    """What a sentence came to on some of the tiles."""

    tiles: Tiles
    question: Question
    outcome: Outcome
    bias: torch.Tensor

    def logits(self, tile: int) -> torch.Tensor:
        return self.tiles.logits(self.outcome.mask_embeddings, self.bias, tile, points=True)


def answer(model, tiles: Tiles, sentences, allowed=None) -> list[Local]:
    everywhere = torch.ones(len(tiles.encodings), dtype=torch.bool)
    readings = [model.read(own) for own in sentences]
    asked = [
        ask_whole(model.decoder, tiles, [reading], own)[0]
        for reading, own in zip(readings, allowed or [everywhere] * len(readings))
    ]
    outcomes = model.decode_many(tiles, asked)
    return [Local(tiles, q, o, model.mask_bias.detach()) for q, o in zip(asked, outcomes)]


def tiles_of(*numbers: int) -> torch.Tensor:
    return torch.tensor([i in numbers for i in range(6)])


def dense_mask(local: Local, proposal: int, threshold: float) -> dict:
    """Points of a mask as (encoding, point) -> probability, by looking at all of them."""
    found = {}
    for i in range(len(local.tiles.encodings)):
        for point, probability in enumerate(local.logits(i)[:, proposal].sigmoid().tolist()):
            if local.question.allowed[i] and probability >= threshold:
                found[i, point] = probability
    return found


def assert_same(local: Local, plain: Decoded, atol: float = 1e-3) -> None:
    ours = local.outcome.correspondence
    torch.testing.assert_close(ours, plain.correspondence, atol=atol, rtol=1e-3)
    tiles = local.question.allowed.nonzero()[:, 0].tolist()
    logits = [local.logits(tile) for tile in tiles]
    torch.testing.assert_close(torch.cat(logits), plain.mask_logits(), atol=atol, rtol=1e-3)


def assert_close(one: Outcome, other: Outcome) -> None:
    for name in ('mask_embeddings', 'correspondence', 'features'):
        a, b = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3, msg=name)


def test_sentences_decoded_together_are_answered_as_one_by_one_by_the_plain_decoder(model, scene):
    encodings, as_tiles = scene
    together = answer(model, as_tiles, SENTENCES)
    with torch.inference_mode():
        for tokens, local in zip(SENTENCES, together):
            assert_same(local, model.decode(encodings, tokens))
            [alone] = answer(model, as_tiles, [tokens])
            assert_close(local.outcome, alone.outcome)
            proposals, words = local.outcome.correspondence.shape
            assert (proposals, words) == (len(local.question.places), len(tokens.spans) + 1)


def test_each_sentence_has_its_own_encodings_of_a_large_map(model, scene):
    encodings, as_tiles = scene
    allowed = [tiles_of(i, (i + 1) % 6, (i + 3) % 6) for i in range(len(SENTENCES))]
    together = answer(model, as_tiles, SENTENCES, allowed)
    with torch.inference_mode():
        for tokens, local, own in zip(SENTENCES, together, allowed):
            chosen = [e for e, wanted in zip(encodings, own) if wanted]
            assert_same(local, model.decode(chosen, tokens))


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 0.6])
def test_masks_are_those_that_looking_at_every_point_finds(model, scene, threshold):
    _, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)], [tiles_of(0, 1, 2, 4)])
    sizes = []
    for proposal, embedding in enumerate(local.outcome.mask_embeddings):
        expected = dense_mask(local, proposal, threshold)
        found = {
            (inside.tile, place): probability
            for inside in as_tiles.mask(embedding, local.bias, local.question.allowed, threshold)
            for place, probability in zip(inside.places.tolist(), inside.probabilities.tolist())
        }
        assert found == pytest.approx(expected, abs=1e-5)
        sizes.append(len(found))
    assert max(sizes) > 0


def test_a_tile_that_is_not_reached_holds_no_point_of_the_mask(model, scene):
    encodings, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)])
    reached = as_tiles.reached(local.outcome.mask_embeddings, local.bias)
    assert not reached.all(), 'nothing was left out: the test says nothing'
    for i in range(len(encodings)):
        assert local.logits(i)[:, ~reached[:, i]].max() < 0


def test_small_limits_change_the_cost_and_not_the_answer(model, scene, monkeypatch):
    _, as_tiles = scene
    usual = answer(model, as_tiles, SENTENCES)
    monkeypatch.setattr(tiles, 'MASKS_AT_ONCE', 3)
    monkeypatch.setattr(local_decoder, 'WIDE', 5)
    monkeypatch.setattr(local_decoder, 'ROWS_AT_ONCE', 2)
    monkeypatch.setattr(lift_gs, 'PROPOSALS_AT_ONCE', 30)
    for one, other in zip(usual, answer(model, as_tiles, SENTENCES)):
        assert_close(one.outcome, other.outcome)


def test_masks_that_are_empty_keep_their_faint_tail(model, scene):
    [encoding, *_], _ = scene
    bias = torch.tensor(-30.0)
    tiles, reading = Tiles([encoding]), model.read(words(4))
    asked = ask_whole(model.decoder, tiles, [reading], torch.tensor([True]))
    [local] = decode_locally(model.decoder, tiles, asked, bias)
    with torch.inference_mode():
        expected = model.decoder(encoding, reading.embeddings, reading.features, bias)[-1]
    for name in ('mask_embeddings', 'correspondence'):
        ours, theirs = getattr(local, name), getattr(expected, name)
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('points', [False, True])
def test_masks_that_are_empty_stay_in_the_tile_that_they_began_in(model, scene, points):
    encodings, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)])
    masks = local.outcome.mask_embeddings
    home = torch.arange(len(masks)) % len(encodings)
    allowed = torch.ones(len(home), len(encodings), dtype=torch.bool)
    found = list(as_tiles.inside(masks, torch.tensor(-30.0), allowed, home, points))
    places = torch.zeros(len(home), len(encodings), dtype=torch.int64)
    for inside in found:
        places[:, inside.tile] += torch.bincount(inside.masks, minlength=len(home))
    sizes = [len(e.positions if points else e.token_positions) for e in encodings]
    expected = torch.zeros_like(places)
    expected[torch.arange(len(home)), home] = torch.tensor(sizes)[home]
    assert torch.equal(places, expected)


def everywhere_owned(tiles: Tiles) -> torch.Tensor:
    return torch.ones(len(tiles.positions), dtype=torch.bool)


def test_a_part_is_answered_as_its_tile_alone(model, scene):
    """All of its proposals, as many as are learnt, in the order of the plain decoder."""
    encodings, as_tiles = scene
    asked, owned = [(model.read(words(4)), tile) for tile in range(6)], everywhere_owned(as_tiles)
    seen = glances(model.decoder, as_tiles, asked, owned)
    parts = [ask_part(model.decoder, as_tiles, *a, own.places) for a, own in zip(asked, seen)]
    outcomes = model.decode_many(as_tiles, parts)
    with torch.inference_mode():
        for encoding, question, outcome in zip(encodings, parts, outcomes):
            assert len(question.places) == CONFIG.proposals
            plain = model.decode([encoding], words(4))
            ours, theirs = outcome.correspondence, plain.correspondence
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
            offset = encoding.origin - as_tiles.origin
            masks = moved(outcome.mask_embeddings, offset)
            torch.testing.assert_close(masks, plain.mask_embeddings, atol=1e-3, rtol=1e-3)


def test_the_best_places_of_the_map_are_shared_out_in_steps(model, scene):
    _, as_tiles = scene
    reading = model.read(words(4))
    asked = [(reading, tile) for tile in range(6)]
    owned = everywhere_owned(as_tiles)
    owned[: as_tiles.counts[0]] = False  # all of the first tile is another's
    seen = dict(enumerate(glances(model.decoder, as_tiles, asked, owned)))
    assert len(seen[0].places) == 0
    assert all((own.similarity.diff() <= 0).all() for own in seen.values())
    ranked = torch.cat([own.similarity for own in seen.values()]).sort(descending=True).values
    for most in (3, 7, 20):
        shares = share_out(seen, most)
        assert 0 not in shares
        for tile, own in seen.items():
            wanted = int((own.similarity >= ranked[most - 1]).sum())
            is_good = bool((own.similarity >= ranked[(most - 1) // 4]).any())
            given = len(shares.get(tile, ()))
            steps = -(-wanted // questions.STEP) * questions.STEP
            assert given == is_good * min(steps, len(own.places))


def test_seeds_of_a_glance_keep_apart_and_end_where_places_run_out(model, scene):
    encodings, as_tiles = scene
    asked, owned = [(model.read(words(4)), 2)], everywhere_owned(as_tiles)
    [own] = glances(model.decoder, as_tiles, asked, owned)
    where = encodings[2].token_positions[own.places]
    assert torch.cdist(where, where).fill_diagonal_(9).min() >= 0.3 - 1e-6
    owned[:] = False
    owned[as_tiles.starts[2] : as_tiles.starts[2] + 2] = True
    [own] = glances(model.decoder, as_tiles, asked, owned)
    assert 1 <= len(own.places) <= 2
    assert set(own.places.tolist()) <= {0, 1}


def test_moved_masks_are_the_same_masks(model, scene):
    _, as_tiles = scene
    [local] = answer(model, as_tiles, [words(3)])
    offset = torch.tensor([3.0, -2.0, 0.5])
    there = moved(local.outcome.mask_embeddings, offset)
    back = moved(there, -offset)
    torch.testing.assert_close(back, local.outcome.mask_embeddings, atol=1e-3, rtol=1e-4)
    assert not torch.allclose(there, back)


def test_no_encodings_are_refused(model):
    with pytest.raises(ValueError, match='no encodings'):
        Tiles([])
