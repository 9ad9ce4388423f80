import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.simulation.vocabulary import HELD_OUT_PAIRS, KINDS
from training.contrast import CAPTION_BANK, CaptionContrast
from training.losses.correspondence import (
    correspondence_loss,
    token_targets,
)
from training.losses.features import balanced_rows, feature_loss, unique_captions
from training.losses.grounding import (
    GroundingWeights,
    Targets,
    grounding_loss,
    hungarian,
    matching_cost,
)
from training.losses.masks import (
    dice_loss,
    focal_loss,
    pairwise_dice,
    pairwise_focal,
    pairwise_iou,
)
from training.losses.photometric import photometric_loss, ssim
from training.trainer import MODELS

LOG3 = math.log(3.0)  # the logit of probability 3/4


def test_photometric_loss_of_constant_images_is_that_computed_by_hand():
    dark, bright = torch.full((16, 16, 3), 0.2), torch.full((16, 16, 3), 0.6)
    # Constant images have no variance: SSIM is its luminance term alone.
    expected_ssim = (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    assert ssim(dark, bright).item() == pytest.approx(expected_ssim, abs=1e-5)
    expected = 0.8 * 0.4 + 0.2 * (1 - expected_ssim)
    assert photometric_loss(dark, bright).item() == pytest.approx(expected, abs=1e-5)


def test_similarity_of_opposite_patterns_is_that_computed_by_hand():
    light = torch.tensor([1.0, 0.0, 1.0])[None, :, None]
    # Windows of three equal weights; at the ends two pixels are left of them.
    ends = 0.5 / 0.5 * (-0.5 + 9e-4) / (0.5 + 9e-4)  # means 1/2 and 1/2, (co)variances +-1/4
    middle = (4 / 9 + 1e-4) / (5 / 9 + 1e-4)  # means 2/3 and 1/3
    middle *= (-4 / 9 + 9e-4) / (4 / 9 + 9e-4)  # (co)variances +-2/9
    found = ssim(light, 1 - light, window=3, sigma=1e6).item()
    assert found == pytest.approx((2 * ends + middle) / 3, rel=1e-4)
    assert ssim(light, light, window=3, sigma=1e6).item() == pytest.approx(1)


def test_similarity_is_that_of_its_definition_written_out():
    first, second = torch.rand(2, 9, 14, 1, generator=torch.Generator().manual_seed(1)).double()
    second = 0.6 * first + 0.4 * second
    rows, columns = np.mgrid[:9, :14]
    found = []
    for row, column in np.ndindex(9, 14):
        weight = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 1.5**2))
        weight[(abs(rows - row) > 5) | (abs(columns - column) > 5)] = 0
        weight /= weight.sum()
        x, y = (image[..., 0].numpy() for image in (first, second))
        mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
        dx, dy = x - mean_x, y - mean_y
        above = (2 * mean_x * mean_y + 1e-4) * (2 * (weight * dx * dy).sum() + 9e-4)
        below = (mean_x**2 + mean_y**2 + 1e-4) * ((weight * (dx**2 + dy**2)).sum() + 9e-4)
        found.append(above / below)
    assert ssim(first, second).item() == pytest.approx(np.mean(found), rel=1e-4)


def test_photometric_loss_is_zero_for_the_image_itself_and_blind_to_invalid_pixels():
    image = torch.rand(20, 24, 3, generator=torch.Generator().manual_seed(0))
    assert photometric_loss(image, image).item() == pytest.approx(0, abs=1e-6)
    valid = torch.ones(20, 24, dtype=torch.bool)
    valid[:, :5] = False
    broken = image.clone()
    broken[:, :5] = 0.5
    assert photometric_loss(broken, image, valid).item() == pytest.approx(0, abs=1e-6)
    assert photometric_loss(broken, image).item() > 0.01


def test_similarity_of_images_is_as_exact_under_autocast():
    noise = 0.002 * torch.randn(2, 20, 24, 3, generator=torch.Generator().manual_seed(0))
    walls = noise + torch.tensor([0.9, 0.95])[:, None, None, None]
    with torch.autocast('cpu', torch.bfloat16):
        similarity = ssim(*walls)
    assert torch.equal(similarity, ssim(*walls))


def test_focal_loss_is_that_computed_by_hand():
    logits = torch.tensor([[LOG3], [-LOG3]])  # probabilities 3/4 and 1/4
    targets = torch.tensor([[1.0], [1.0]])
    by_hand = (0.25**2 * math.log(4 / 3) + 0.75**2 * math.log(4)) / 2
    assert focal_loss(logits, targets).item() == pytest.approx(by_hand, rel=1e-5)
    weighted = focal_loss(logits, targets, alpha=0.25).item()
    assert weighted == pytest.approx(by_hand / 2, rel=1e-5)


def test_dice_loss_is_that_computed_by_hand():
    logits = torch.tensor([[LOG3], [-LOG3]])
    targets = torch.tensor([[1.0], [0.0]])
    assert dice_loss(logits, targets).item() == pytest.approx(1 - (1.5 + 1) / (1 + 1 + 1), rel=1e-5)


def test_mask_losses_are_least_for_a_perfect_mask():
    targets = (torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    perfect = (targets * 2 - 1) * 40
    assert focal_loss(perfect, targets).max().item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(perfect, targets).max().item() == pytest.approx(0, abs=1e-6)
    worse = perfect.clone()
    worse[0] = -worse[0]
    assert (focal_loss(worse, targets) > 1e-3).all()
    assert (dice_loss(worse, targets) > 1e-3).all()


def test_pairwise_losses_hold_the_numbers_of_the_elementwise_ones():
    generator = torch.Generator().manual_seed(2)
    logits, targets = torch.randn(30, 4, generator=generator), torch.rand(30, 2).round()
    for proposal in range(4):
        for instance in range(2):
            pair = logits[:, [proposal]], targets[:, [instance]]
            focal, dice = pairwise_focal(logits, targets), pairwise_dice(logits, targets)
            assert focal[proposal, instance].item() == pytest.approx(focal_loss(*pair).item(), 1e-4)
            assert dice[proposal, instance].item() == pytest.approx(dice_loss(*pair).item(), 1e-4)


def test_pairwise_iou_counts_pixels():
    masks = torch.tensor([[1, 0], [1, 0], [0, 1]]).bool()
    targets = torch.tensor([[1], [0], [0]]).bool()
    assert pairwise_iou(masks, targets)[:, 0].tolist() == [0.5, 0.0]


def test_correspondence_loss_is_that_computed_by_hand():
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]])
    targets = token_targets(torch.tensor([[True, True]]))
    assert targets.tolist() == [[0.5, 0.5, 0.0]]
    loss = correspondence_loss(
        probability.log(), targets, torch.tensor([0]), no_object_weight=0.1
    ).item()
    matched = -(0.5 * math.log(0.5) + 0.5 * math.log(0.25)) - math.log(2)
    assert loss == pytest.approx((matched - 0.1 * math.log(0.75)) / 1.1, rel=1e-5)


def test_correspondence_loss_is_zero_when_perfect_and_positive_otherwise():
    targets = token_targets(torch.tensor([[True, True, False], [False, False, True]]))
    perfect = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]).clamp(min=1e-9)
    loss = correspondence_loss(perfect.log(), targets, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert correspondence_loss(perfect.log(), targets, torch.tensor([1, 0])).item() > 1


def test_an_unseen_proposal_is_not_punished_for_naming_something():
    targets = token_targets(torch.tensor([[True]]))
    log_probability = torch.tensor([[0.99, 0.01], [0.99, 0.01]]).log()
    arguments = (log_probability, targets, torch.tensor([0]))
    unseen = correspondence_loss(*arguments, background=torch.tensor([1.0, 0.0]))
    assert unseen.item() < 0.02 < correspondence_loss(*arguments).item()


def test_feature_loss_is_that_computed_by_hand_and_near_zero_when_perfect():
    candidates = torch.eye(3)
    features = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.tensor([0, 2])
    by_hand = -math.log(math.e / (math.e + 2))
    assert feature_loss(features, labels, candidates).item() == pytest.approx(by_hand, rel=1e-5)
    assert feature_loss(features, labels, candidates, 0.05).item() < 1e-6
    assert feature_loss(features, labels.flip(0), candidates, 0.05).item() > 10
    assert feature_loss(features[:0], labels[:0], candidates).item() == 0


def test_balanced_rows_takes_as_many_of_a_mug_as_of_a_floor():
    semantics = np.array([0] * 100 + [1] * 5 + [-1] * 50)
    pixels = balanced_rows(semantics, 5, np.random.default_rng(0))
    assert np.bincount(semantics[pixels]).tolist() == [5, 5]


def test_unique_captions_gives_equal_captions_one_row():
    unique, rows = unique_captions(['white wall', 'red chair', 'white wall'])
    assert unique == ['white wall', 'red chair']
    assert rows.tolist() == [0, 1, 0]


@pytest.fixture(scope='module')
def contrast_with():
    """Build a contrast around an untrained model and real words, with a weight of the nouns."""
    torch.manual_seed(0)
    model = LiftGS(MODELS['tiny'](feature_dim=32), 'torch').requires_grad_(False)
    language = load_language_encoder('minilm')

    def build(
        noun_weight: float, temperature: float = 0.002, everyday_nouns: bool = False
    ) -> CaptionContrast:
        return CaptionContrast(model, language, temperature, noun_weight, everyday_nouns)

    return build


CAPTIONS = ['red chair', 'blue chair', 'red office chair', 'gray couch', 'wall']


def test_features_that_are_their_captions_cost_nothing(contrast_with):
    captions = contrast_with(0.0)
    features = 7.0 * captions.text_features(CAPTIONS)  # of any length
    labels = np.arange(len(CAPTIONS))
    assert captions(features, labels, CAPTIONS).item() == pytest.approx(0, abs=1e-3)
    assert captions(features, np.roll(labels, 1), CAPTIONS).item() > 10
    twice = captions(features, labels, CAPTIONS[:3] + CAPTIONS[3:] + CAPTIONS)
    assert twice.item() == pytest.approx(0, abs=1e-3)  # a caption of two masks is one


def test_features_that_are_their_nouns_cost_nothing_among_nouns(contrast_with):
    captions, both = contrast_with(0.0), contrast_with(3.0)
    kinds = ['chair', 'chair', 'chair', 'sofa', 'wall']  # whatever colour and sort
    features, labels = both.text_features(kinds), np.arange(len(CAPTIONS))

    def nouns(labels: np.ndarray) -> float:
        pair = (loss(features, labels, CAPTIONS).item() for loss in (both, captions))
        return float(np.subtract(*pair)) / 3

    assert nouns(labels) == pytest.approx(0, abs=0.01)
    assert nouns(np.array([1, 2, 0, 3, 4])) == pytest.approx(0, abs=0.01)  # a chair is a chair
    assert nouns(np.array([3, 1, 2, 0, 4])) > 10


def _learn(contrast: CaptionContrast, captions: list[str]) -> torch.Tensor:
    """Features that the loss likes, one for each caption."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(len(captions), 32, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        contrast(features, np.arange(len(captions)), captions).backward()
        optimizer.step()
    return functional.normalize(features.detach(), dim=1)


def test_the_noun_term_makes_a_red_chair_answer_to_chair(contrast_with):
    captions = ['red chair', 'red table', 'red lamp', 'blue sofa']
    wanted = [list(KINDS).index(kind) for kind in ('chair', 'table', 'lamp', 'sofa')]
    scores = {}
    for weight in (0.0, 1.0):
        contrast = contrast_with(weight, temperature=0.05)
        features = _learn(contrast, captions)
        cosines = features @ contrast.text_features(list(KINDS)).T
        scores[weight] = functional.cross_entropy(cosines / 0.05, torch.tensor(wanted)).item()
        if weight:
            assert cosines.argmax(dim=1).tolist() == wanted
            likeness = features @ contrast.text_features([text for _, text in CAPTION_BANK]).T
            said = [CAPTION_BANK[i][1] for i in likeness.argmax(dim=1)]
            assert said == captions  # and it is still told from a blue chair
    assert scores[1.0] < 0.5 * scores[0.0]


def test_other_words_for_what_is_shown_are_no_negatives(contrast_with, monkeypatch):
    contrast = contrast_with(1.0)
    asked: list[list[str]] = []
    text_features = contrast.text_features

    def noted(texts: list[str]) -> torch.Tensor:
        asked.append(texts)
        return text_features(texts)

    monkeypatch.setattr(contrast, 'text_features', noted)
    captions = ['gray couch', 'red office chair', 'red chair', 'gray couch']
    contrast(torch.randn(4, 32), np.arange(4), captions)
    whole, nouns = asked
    assert whole[:3] == ['gray couch', 'red office chair', 'red chair']
    assert 'grey sofa' not in whole
    assert {'blue chair', 'blue sofa', 'white sofa', 'grey chair'} <= set(whole)
    assert len(whole) == len(set(whole)) == 3 + len(CAPTION_BANK) - 2
    assert nouns[:2] == ['sofa', 'chair']  # both chairs are one noun
    assert sorted(nouns) == sorted(KINDS)


def test_everyday_nouns_compete_with_those_that_are_nothing_like_them(contrast_with, monkeypatch):
    contrast = contrast_with(1.0, everyday_nouns=True)
    asked: list[list[str]] = []
    text_features = contrast.text_features
    monkeypatch.setattr(
        contrast, 'text_features', lambda texts: asked.append(texts) or text_features(texts)
    )
    contrast(torch.randn(2, 32), np.arange(2), ['black monitor', 'wall'])
    _, nouns = asked
    assert len(nouns) == len(set(nouns))
    assert set(KINDS) < set(nouns)
    assert {'guitar', 'bathtub'} < set(nouns)
    assert not {'television', 'computer'} & set(nouns)  # a monitor may be called one
    assert nouns.count('wall') == 1
    contrast(torch.randn(1, 32), np.arange(1), ['red chair'])
    assert 'television' in asked[-1]
    contrast(torch.randn(0, 32), np.zeros(0, np.int64), [])
    assert 'guitar' in asked[-1]


def test_captions_and_nouns_may_be_said_in_other_words(contrast_with, monkeypatch):
    contrast = contrast_with(1.0)
    asked: list[list[str]] = []
    text_features = contrast.text_features
    monkeypatch.setattr(
        contrast, 'text_features', lambda texts: asked.append(texts) or text_features(texts)
    )
    contrast(
        torch.randn(1, 32), np.arange(1), ['grey sofa'], lambda text: text.replace('sofa', 'couch')
    )
    whole, nouns = asked
    assert (whole[0], nouns[0]) == ('grey couch', 'couch')
    assert 'blue couch' in whole
    assert not any('sofa' in text for text in (*whole, *nouns))


def test_pairs_that_training_must_not_see_are_no_negatives():
    assert not {(caption.color, caption.kind) for caption, _ in CAPTION_BANK} & HELD_OUT_PAIRS


def test_the_words_are_learned_too_and_nothing_shown_costs_nothing(contrast_with):
    torch.manual_seed(0)
    model = LiftGS(MODELS['tiny'](), 'torch')
    contrast = CaptionContrast(model, load_language_encoder('minilm'), 0.1, 1.0)
    features = torch.randn(2, 8, requires_grad=True)
    contrast(features, np.array([0, 1]), ['red chair', 'wall']).backward()
    assert features.grad.abs().sum() > 0
    assert model.text_to_feature[1].weight.grad.abs().sum() > 0
    nothing = contrast(features[:0], np.zeros(0, np.int64), [])
    assert nothing.item() == 0
    nothing.backward()


def test_hungarian_finds_the_cheapest_matching_not_the_greedy_one():
    cost = torch.tensor([[1.0, 2.0], [2.0, 9.0], [8.0, 9.0]])
    assert hungarian(cost).tolist() == [1, 0]
    with pytest.raises(ValueError, match='2 instances but only 1'):
        hungarian(cost[:1])


def _perfect(pixels: int = 40):
    masks = torch.zeros(pixels, 2)
    masks[:10, 0] = 1
    masks[20:35, 1] = 1
    logits = torch.cat([torch.full((pixels, 1), -40.0), (masks * 2 - 1) * 40], dim=1)
    targets = token_targets(torch.tensor([[True, False], [False, True]]))
    probability = torch.tensor([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]]).clamp(min=1e-9)
    return logits, masks, probability.log(), targets


def test_grounding_loss_matches_and_is_least_when_perfect():
    logits, masks, log_probability, tokens = _perfect()
    weights, views = GroundingWeights(), [Targets(logits, masks, tokens)]
    loss = grounding_loss(views, log_probability, weights)
    assert loss.proposals[0].tolist() == [1, 2]
    assert loss.total(weights).item() == pytest.approx(0, abs=1e-4)
    swapped = grounding_loss(views, log_probability[[0, 2, 1]], weights)
    assert swapped.total(weights).item() > 1


def test_the_weights_are_the_papers_and_the_total_is_that_computed_by_hand():
    weights = GroundingWeights()  # A.1
    assert (weights.mask, weights.dice, weights.correspondence) == (15, 6, 2)
    # One proposal of probability 3/4 everywhere, for a mask of one pixel of two; two tokens, one
    # of them its own, "no object" half as likely as either.
    logits, masks = torch.full((2, 1), LOG3), torch.tensor([[1.0], [0.0]])
    tokens = torch.tensor([[1.0, 0.0, 0.0]])
    log_probability = torch.tensor([[0.4, 0.4, 0.2]]).log()
    loss = grounding_loss([Targets(logits, masks, tokens)], log_probability, weights)
    focal = (math.log(4 / 3) / 16 + 9 / 16 * math.log(4)) / 2
    dice = 1 - (2 * 0.75 + 1) / (1.5 + 1 + 1)
    named = -math.log(0.4)
    assert loss.mask.item() == pytest.approx(focal, rel=1e-5)
    assert loss.dice.item() == pytest.approx(dice, rel=1e-5)
    assert loss.correspondence.item() == pytest.approx(named, rel=1e-5)
    expected = 15 * focal + 6 * dice + 2 * named
    assert loss.total(weights).item() == pytest.approx(expected, rel=1e-5)


def test_matching_cost_is_the_loss_of_the_pair():
    logits, masks, log_probability, tokens = _perfect()
    logits = logits / 40
    weights = GroundingWeights()
    cost = matching_cost(Targets(logits, masks, tokens), log_probability, weights)
    one = grounding_loss(
        [Targets(logits[:, [2]], masks[:, [1]], tokens[[1]])], log_probability[[2]], weights
    ).total(weights)
    assert cost[2, 1].item() == pytest.approx(one.item(), rel=1e-4)


def test_a_proposal_matched_in_one_view_is_not_no_object_in_the_other():
    logits, masks, log_probability, tokens = _perfect()
    first = Targets(logits, masks[:, [0]], tokens[[0]])
    second = Targets(logits, masks[:, [1]], tokens[[1]])
    loss = grounding_loss([first, second], log_probability, GroundingWeights())
    assert [p.tolist() for p in loss.proposals] == [[1], [2]]
    assert loss.correspondence.item() == pytest.approx(0, abs=1e-4)
    alone = grounding_loss([first], log_probability, GroundingWeights())
    assert alone.correspondence.item() > 0.5


def test_a_sample_without_instances_still_teaches_no_object():
    logits = torch.zeros(10, 3, requires_grad=True)
    log_probability = torch.full((3, 2), math.log(0.5), requires_grad=True)
    nothing = Targets(logits, torch.zeros(10, 0), torch.zeros(0, 2))
    loss = grounding_loss([nothing], log_probability, GroundingWeights())
    loss.total(GroundingWeights()).backward()
    assert loss.correspondence.item() == pytest.approx(math.log(2), rel=1e-5)
    assert log_probability.grad[:, -1].abs().min() > 0


def test_negative_weights_are_refused_by_name():
    with pytest.raises(ValueError, match='dice is -1'):
        GroundingWeights(dice=-1)
