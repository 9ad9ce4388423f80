"""The network end to end: shapes, invariances, gradients, and that it can learn."""

import dataclasses

import numpy as np
import pytest
import torch

from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.lift_gs import Decoded, LiftGS, span_log_prob
from lift_gs_ros.model.mask_decoder import _attended
from lift_gs_ros.model.proposal_geometry import (
    PairwiseBias,
    ProposalGeometry,
    fourier_dim,
    fourier_features,
    mask_weights,
)
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.seeds import (
    POSITION_CHANNELS,
    Seeds,
    choose_seeds,
    position_channels,
    shifted_channels,
)
from lift_gs_ros.model.tokens import LanguageTokens
from lift_gs_ros.splat.spherical_harmonics import sh_to_colors

CONFIG = LiftGSConfig.tiny()


@pytest.fixture
def model() -> LiftGS:
    torch.manual_seed(0)
    return LiftGS(CONFIG, 'torch').eval()


def words(number: int, seed: int = 0) -> LanguageTokens:
    generator = np.random.default_rng(seed)
    begins = 4 * np.arange(number)
    return LanguageTokens(
        text='abc ' * number,
        embeddings=generator.normal(size=(number, CONFIG.language_dim)).astype(np.float32),
        spans=np.stack([begins, begins + 3], axis=1),
        sentence=np.zeros(CONFIG.language_dim, np.float32),
    )


def cloud(seed: int, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Points in the middle half of their voxels, where rounding never moves them to the next."""
    generator = np.random.default_rng(seed)
    cells = np.unique(generator.integers([-20, -15, 0], [20, 15, 12], (points, 3)), axis=0)
    cells = generator.permutation(cells)
    positions = (cells + generator.uniform(-0.25, 0.25, cells.shape)) * CONFIG.voxel_size
    return positions.astype(np.float32), generator.random(cells.shape).astype(np.float32)


def assert_same_answer(a: Decoded, b: Decoded, order=slice(None), atol: float = 1e-4) -> None:
    torch.testing.assert_close(a.correspondence, b.correspondence, atol=atol, rtol=0)
    torch.testing.assert_close(a.mask_logits()[order], b.mask_logits(), atol=atol, rtol=0)


def test_shapes_are_those_of_the_paper(model):
    positions, colors = cloud(0)
    encoding = model.encode([(positions, colors)])[0]
    n, v = len(positions), len(encoding.token_positions)
    assert encoding.features.shape == (n, CONFIG.feature_dim)
    assert encoding.mask_features.shape == (n, CONFIG.mask_dim + POSITION_CHANNELS)
    assert len(encoding.gaussians) == n
    assert encoding.keys.shape == (CONFIG.decoder_layers, v, CONFIG.hidden_dim)
    assert 1 < v < n
    assert encoding.token_counts.sum() == n
    decoded = model.decode([encoding], words(7))
    assert len(decoded.layers) == CONFIG.decoder_layers
    assert decoded.correspondence.shape == (CONFIG.proposals, 8)
    assert decoded.mask_logits().shape == (n, CONFIG.proposals)
    image = torch.rand(4, 6, CONFIG.mask_dim + POSITION_CHANNELS)
    assert decoded.logits_of(image, layer=0).shape == (4, 6, CONFIG.proposals)


def test_correspondence_is_a_distribution_and_spans_add_up(model):
    decoded = model.decode(model.encode([cloud(0)]), words(5))
    probability = decoded.correspondence.exp()
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(CONFIG.proposals))
    span = span_log_prob(decoded.correspondence, [1, 3])
    torch.testing.assert_close(span.exp(), probability[:, [1, 3]].sum(dim=1))
    torch.testing.assert_close(decoded.span_probability(np.array([1, 3])), span.exp())
    assert (decoded.span_probability([]) == 0).all()


@pytest.mark.parametrize(
    ('offset', 'atol'),
    [([16, -8, 0.8], 2e-3), ([1032, -1032, 0], 5e-2)],  # multiples of the coarsest voxel, 0.8 m
)
def test_answers_do_not_depend_on_where_the_map_begins(model, offset, atol):
    positions, colors = cloud(0)
    here = model.decode(model.encode([(positions, colors)]), words(4))
    there = model.decode(model.encode([(positions + np.float32(offset), colors)]), words(4))
    assert_same_answer(here, there, atol=atol)
    torch.testing.assert_close(
        there.scene.gaussians.means - torch.tensor(offset),
        here.scene.gaussians.means,
        atol=1e-5 * max(offset),
        rtol=0,
    )


def test_positions_of_several_chunks_count_from_their_common_mean_however_far_away(model):
    clouds = [cloud(0), cloud(1, 150)]
    offsets = np.float32([[1032, -1032, 0], [1040, -1032, 0]])
    parts = model.encode([(p + offset, c) for (p, c), offset in zip(clouds, offsets)])
    scene = SceneEncoding.concatenate(parts)
    assert (scene.origin - torch.tensor([1036, -1032, 0])).norm() < 0.5
    for positions, features in (
        (scene.positions, scene.mask_features),
        (scene.token_positions, scene.token_mask_features),
    ):
        channels, relative = features[:, -POSITION_CHANNELS:], positions - scene.origin
        torch.testing.assert_close(channels[:, :3], relative, atol=1e-3, rtol=0)
        assert (channels[:, 4] == 1).all()
    expected = position_channels(scene.positions - scene.origin)
    torch.testing.assert_close(
        scene.mask_features[:, -POSITION_CHANNELS:], expected, atol=5e-3, rtol=0
    )


def test_a_batch_of_clouds_gives_what_single_clouds_give(model):
    clouds = [cloud(0), cloud(1, 100), cloud(2, 250)]
    for batched, single in zip(model.encode(clouds), clouds):
        alone = model.encode([single])[0]
        for field in dataclasses.fields(SceneEncoding):
            if field.name != 'gaussians':
                a, b = getattr(batched, field.name), getattr(alone, field.name)
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=field.name)
    assert model.encode([]) == []


def test_several_encodings_are_answered_as_one_whatever_their_order(model):
    a, b = model.encode([cloud(0), cloud(1, 150)])
    together = model.decode([a, b], words(6))
    as_one = model.decode([SceneEncoding.concatenate([a, b])], words(6))
    assert_same_answer(together, as_one, atol=0)
    swapped = model.decode([b, a], words(6))
    n = len(a.positions)
    order = torch.cat([torch.arange(n, len(together.mask_logits())), torch.arange(n)])
    assert_same_answer(together, swapped, order)
    parts = together.split(together.mask_logits())
    assert [len(part) for part in parts] == [len(a.positions), len(b.positions)]
    # Attended together, not one after the other: b changes what is said about a.
    alone = model.decode([a], words(6))
    assert (alone.mask_logits() - parts[0]).abs().max() > 1e-4


def test_the_order_of_points_does_not_matter_and_doubled_points_agree(model):
    positions, colors = cloud(0)
    order = np.random.default_rng(3).permutation(len(positions))
    a = model.decode(model.encode([(positions, colors)]), words(4))
    b = model.decode(model.encode([(positions[order], colors[order])]), words(4))
    assert_same_answer(a, b, torch.from_numpy(order))
    twice = model.encode([(np.repeat(positions, 2, axis=0), np.repeat(colors, 2, axis=0))])[0]
    torch.testing.assert_close(twice.features[::2], a.scene.features, atol=1e-5, rtol=1e-4)
    assert torch.equal(twice.features[::2], twice.features[1::2])


def test_where_things_are_reaches_the_proposals(model):
    encoding = model.encode([cloud(0)])[0]
    mirrored = dataclasses.replace(encoding, token_positions=encoding.token_positions.flip(0))
    a, b = model.decode([encoding], words(4)), model.decode([mirrored], words(4))
    assert (a.mask_embeddings - b.mask_embeddings).abs().max() > 1e-3


def test_every_parameter_learns_from_masks_correspondence_features_and_gaussians(model):
    model.train()
    encoding = model.encode([cloud(0)])[0]
    decoded = model.decode([encoding], words(4))
    gaussians = encoding.gaussians
    loss = sum(layer.correspondence[:, 0].sum() for layer in decoded.layers)
    loss = loss + sum(decoded.mask_logits(i).square().sum() for i in range(CONFIG.decoder_layers))
    for tensor in (gaussians.means, gaussians.quats, gaussians.scales, gaussians.sh):
        loss = loss + (tensor * torch.randn_like(tensor)).sum()
    (loss + gaussians.opacities.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    # The last layer of the Gaussian head starts at zero, so the one before learns a step later.
    without = {n for n, p in model.named_parameters() if not p.grad.any()}
    assert without <= {'gaussian_head.mlp.0.weight', 'gaussian_head.mlp.0.bias'}


def test_gaussians_begin_as_the_cloud_itself(model):
    positions, colors = cloud(0)
    gaussians = model.encode([(positions, colors)])[0].gaussians
    assert torch.equal(gaussians.means, torch.from_numpy(positions))
    directions = torch.randn(len(positions), 3)
    seen = sh_to_colors(gaussians.sh, directions)
    torch.testing.assert_close(seen, torch.from_numpy(colors), atol=1e-5, rtol=0)
    torch.testing.assert_close(gaussians.opacities, torch.full((len(positions),), 0.9))
    torch.testing.assert_close(gaussians.scales, torch.full((len(positions), 3), 0.03))
    gaussians.check_finite()


def test_gaussians_stay_near_their_points_whatever_is_learned(model):
    with torch.no_grad():
        model.gaussian_head.mlp[-1].weight.normal_(std=100)
    positions, colors = cloud(0)
    gaussians = model.encode([(positions, colors)])[0].gaussians
    assert (gaussians.means - torch.from_numpy(positions)).abs().max() <= 0.05 + 1e-6
    assert gaussians.scales.min() >= 0.03 / 4 - 1e-6
    assert gaussians.scales.max() <= 0.03 * 4 + 1e-6
    gaussians.check_finite()


def test_a_sentence_without_words_is_answered_with_no_object(model):
    decoded = model.decode(model.encode([cloud(0)]), words(0))
    assert decoded.correspondence.shape == (CONFIG.proposals, 1)
    assert (decoded.correspondence == 0).all()
    assert decoded.mask_logits().isfinite().all()


@pytest.mark.parametrize('training', [True, False])
def test_one_point_is_a_scene(model, training):
    model.train(training)
    encoding = model.encode([(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))])[0]
    decoded = model.decode([encoding], words(2))
    assert decoded.mask_logits().isfinite().all()
    assert decoded.correspondence.isfinite().all()


def test_encoding_and_decoding_work_in_inference_mode_and_move(model):
    with torch.inference_mode():
        encoding = model.encode([cloud(0)])[0].to('cpu')
        decoded = model.decode([encoding], words(2))
    assert not decoded.mask_logits().requires_grad
    assert not encoding.gaussians.means.requires_grad


@pytest.mark.parametrize(
    ('positions', 'colors', 'message'),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), 'P >= 1'),
        (np.zeros((4, 2)), np.zeros((4, 2)), r'positions \(4, 2\)'),
        (np.zeros((4, 3)), np.zeros((5, 3)), r'colors \(5, 3\)'),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), 'NaN or infinity'),
        (np.zeros((4, 3)), np.full((4, 3), np.inf), 'NaN or infinity'),
        (np.array([[0, 0, 0], [5000, 0, 0]]), np.zeros((2, 3)), 'stray points'),
    ],
)
def test_bad_clouds_are_refused_with_the_reason(model, positions, colors, message):
    with pytest.raises(ValueError, match=message):
        model.encode([(positions, colors)])


def test_tokens_of_another_encoder_and_no_encodings_are_refused(model):
    other = dataclasses.replace(words(2), embeddings=np.zeros((2, 768), np.float32))
    encodings = model.encode([cloud(0)])
    with pytest.raises(ValueError, match='language encoder "minilm"'):
        model.decode(encodings, other)
    with pytest.raises(ValueError, match='no encodings'):
        model.decode([], words(2))


def test_masks_that_are_empty_attend_to_all_tokens():
    logits = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])  # 2 tokens, 2 proposals
    assert _attended(logits).tolist() == [[True, False], [True, True]]


def test_geometry_of_a_mask_is_its_centre_and_extent():
    positions = torch.cat([torch.rand(4000, 3) * torch.tensor([2.0, 1.0, 0.5]), torch.rand(9, 3)])
    logits = torch.full((4009, 2), -4.0)
    logits[:4000, 0] = 4
    weights = mask_weights(logits)
    assert (weights[4000:, 0] == 0).all()
    assert (weights[:, 1] > 0).all()  # empty: its faint tail is all there is
    geometry = ProposalGeometry.from_masks(weights, positions)
    torch.testing.assert_close(geometry.centers[0], torch.tensor([1, 0.5, 0.25]), atol=0.05, rtol=0)
    uniform = 4 / 12**0.5  # four standard deviations of a uniform distribution
    expected = uniform * torch.tensor([2, 1, 0.5])
    torch.testing.assert_close(geometry.extents[0], expected, atol=0.05, rtol=0)


def test_geometry_of_a_mask_is_as_exact_under_autocast():
    positions = torch.tensor([5.0, -3.0, 0.5]) + 0.05 * torch.randn(500, 3)
    weights = torch.rand(500, 4)
    expected = ProposalGeometry.from_masks(weights, positions)
    with torch.autocast('cpu', torch.bfloat16):
        geometry = ProposalGeometry.from_masks(weights, positions)
    assert torch.equal(geometry.extents, expected.extents)
    assert torch.equal(geometry.centers, expected.centers)


def test_pairwise_bias_depends_on_positions_relative_to_each_other_only():
    bias = PairwiseBias(heads=2)
    geometry = ProposalGeometry(torch.randn(3, 3), torch.rand(3, 3) + 0.1)
    moved = ProposalGeometry(geometry.centers + 7, geometry.extents)
    torch.testing.assert_close(bias(geometry), bias(moved), atol=1e-4, rtol=0)
    assert bias(geometry).shape == (2, 3, 3)
    assert (bias(geometry)[:, 0, 1] != bias(geometry)[:, 1, 0]).all()


def test_fourier_features_tell_near_and_far_places_apart():
    places = torch.tensor([[0.0, 0, 0], [0.05, 0, 0], [8.0, 0, 0]])
    waves = fourier_features(places, bands=8)
    assert waves.shape == (3, fourier_dim(8))
    assert (waves[0] - waves[1]).norm() > 0.5
    assert (waves[0] - waves[2]).norm() > 0.5


def test_sizes_are_those_of_the_paper_and_of_an_embedded_computer():
    base = LiftGSConfig.base()
    assert base.channels == (32, 64, 128, 256, 256, 128, 96, 96)
    assert base.blocks == (2, 3, 4, 6, 2, 2, 2, 2)
    assert (base.feature_dim, base.decoder_layers, base.hidden_dim) == (96, 8, 512)
    assert (base.heads, base.feedforward_dim, base.dropout, base.proposals) == (8, 2048, 0.15, 256)
    small = LiftGS(LiftGSConfig.small(), 'torch')
    assert sum(parameter.numel() for parameter in small.parameters()) <= 7.5e6


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'channels': (8, 8)}, 'channels is'),
        ({'blocks': (1,) * 7 + (0,)}, 'blocks is'),
        ({'voxel_size': -0.05}, 'voxel_size is -0.05'),
        ({'stem_kernel': 4}, 'stem_kernel is 4'),
        ({'token_stride': 16}, 'token_stride is 16'),
        ({'hidden_dim': 30, 'heads': 4}, 'not divisible by heads'),
        ({'dropout': 1.0}, 'dropout is 1.0'),
        ({'proposals': 0}, 'proposals is 0'),
        ({'mask_dim': 2.5}, 'mask_dim is 2.5'),
        ({'language': 'bert'}, "language is 'bert'"),
    ],
)
def test_configs_that_can_not_be_built_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        LiftGSConfig.tiny(**changes)


def test_config_survives_json():
    assert LiftGSConfig.from_dict(CONFIG.to_dict() | {'channels': list(CONFIG.channels)}) == CONFIG
    with pytest.raises(ValueError, match="unknown fields \\['color'\\]"):
        LiftGSConfig.from_dict({'color': 'red'})


def test_the_network_can_learn_which_mask_a_word_means():
    """Two words, two colours: after some steps each word finds its half of the cloud."""
    torch.manual_seed(0)
    model = LiftGS(CONFIG, 'torch').train()
    tokens = words(2)
    positions, colors = cloud(0, 600)
    is_red = positions[:, 0] > -CONFIG.voxel_size / 2  # a border between voxels
    colors[:] = np.where(is_red[:, None], [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]])
    targets = torch.from_numpy(np.stack([is_red, ~is_red], axis=1)).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        decoded = model.decode(model.encode([(positions, colors)]), tokens)
        masks = decoded.mask_logits()[:, :2]  # proposal i is for word i
        loss = torch.nn.functional.binary_cross_entropy_with_logits(masks, targets)
        answer = torch.tensor([0, 1] + [2] * (CONFIG.proposals - 2))
        loss = loss + torch.nn.functional.nll_loss(decoded.correspondence, answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        decoded = model.eval().decode(model.encode([(positions, colors)]), tokens)
        for word in range(2):
            best = int(decoded.span_probability([word]).argmax())
            found = decoded.mask_logits()[:, best] > 0
            wanted = targets[:, word] > 0
            assert (found & wanted).sum() > 0.9 * (found | wanted).sum()


def test_seeds_are_the_most_similar_places_kept_apart_and_suffice_in_a_small_scene():
    positions = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [2, 0, 0], [4, 0, 0]])
    similarity = torch.tensor([0.9, 0.8, 0.1, 0.5])
    assert choose_seeds(similarity, positions, 3).tolist() == [0, 3, 2]
    assert choose_seeds(similarity, positions, 5).tolist()[:4] == [0, 3, 2, 1]


def test_nearness_is_a_paraboloid_around_the_seed_and_linear_in_the_position_channels():
    torch.manual_seed(0)
    seeds = Seeds(4, 8)
    rows, places = torch.randn(3, 8), torch.randn(3, 3) * 3
    points = torch.randn(20, 3) * 3
    logits = position_channels(points) @ seeds.nearness(rows, places).T
    assert torch.allclose(logits, -torch.cdist(points, places).square() / 2, atol=1e-3)
    torch.nn.init.normal_(seeds.placement.weight)
    logits = position_channels(points) @ seeds.nearness(rows, places).T
    assert logits.max() <= 1e-2


def test_position_channels_and_their_means_move_with_the_origin():
    points, offset = torch.randn(20, 3) * 3, torch.tensor([5.0, -2.0, 1.0])
    moved = shifted_channels(position_channels(points), offset)
    torch.testing.assert_close(moved, position_channels(points + offset), atol=1e-4, rtol=1e-5)
    mean = shifted_channels(position_channels(points).mean(dim=0), offset)
    torch.testing.assert_close(mean, moved.mean(dim=0), atol=1e-4, rtol=1e-5)


def test_proposals_begin_where_the_scene_resembles_the_words():
    torch.manual_seed(0)
    seeds = Seeds(4, 8)
    features = torch.randn(50, 4)
    positions = torch.rand(50, 3) * 10
    _, places = seeds(features, 3 * features[[17]], positions, 5)
    assert int(places[0]) == 17


def test_a_large_scene_is_covered_by_more_proposals():
    torch.manual_seed(0)
    decoder = LiftGS(CONFIG, 'torch').decoder
    assert len(decoder.proposals_for(10)) == CONFIG.proposals
    assert len(decoder.proposals_for(8000)) == CONFIG.max_proposals
    with pytest.raises(ValueError, match='max_proposals is 3'):
        LiftGSConfig.tiny(max_proposals=3)
