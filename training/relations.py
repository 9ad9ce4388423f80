"""Train the relation head on sentences about boxes of simulated rooms (twenty minutes on a core).

    python -m training.relations --rooms 800 --houses 100 --out runs/relations.safetensors

Half of the sentences are about single rooms, half about houses of several. Prints, every few
hundred steps, how often it means the right one of several candidates in rooms and houses of the
validation split: given their true boxes, and given disturbed ones. Writes ``log.csv`` and
TensorBoard events into the folder ``--log``, as the other programs do.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.relations import DEFAULT_WEIGHTS, FEATURES, RelationHead
from training.data.references import (
    ABSOLUTE,
    Disturbance,
    ReferenceExample,
    house_examples,
    room_examples,
)
from training.evaluation.grounding import auroc
from training.journal import Journal

LANGUAGE = 'minilm'
REFERRING = ('attribute', 'relation', 'ordinal')
LOG_EVERY, CHECK_EVERY = 20, 500  # steps
HOUSE_ROOMS = (2, 8)  # of a house, from and up to


def collate(
    examples: Sequence[ReferenceExample],
    rng: np.random.Generator,
    disturbance: Disturbance | None,
) -> tuple[list[Tensor], Tensor]:
    """Pad examples to one batch: the arguments of the head, and target probabilities (B, n + 1)."""
    drawn = [example.draw(rng, disturbance) for example in examples]
    count = max(len(features) for features, _ in drawn)
    length = max(len(example.reference.words) for example in examples)
    dim = examples[0].reference.words.shape[1]
    features = torch.zeros(len(examples), count, FEATURES)
    wanted = torch.zeros(len(examples), count + 1)
    is_candidate = torch.zeros(len(examples), count, dtype=torch.bool)
    words = torch.zeros(len(examples), length, dim)
    is_word = torch.zeros(len(examples), length, dtype=torch.bool)
    for row, (example, (own, target)) in enumerate(zip(examples, drawn)):
        features[row, : len(own)] = torch.from_numpy(own)
        wanted[row, : len(own)] = torch.from_numpy(target)
        wanted[row, -1] = 1 - wanted[row].sum()  # none of them
        is_candidate[row, : len(own)] = True
        words[row, : len(example.reference.words)] = torch.from_numpy(example.reference.words)
        is_word[row, : len(example.reference.words)] = True
    targets = torch.from_numpy(np.stack([e.reference.target for e in examples]))
    links = torch.from_numpy(np.stack([e.reference.links for e in examples]))
    return [features, is_candidate, words, is_word, targets, links], wanted


@torch.no_grad()
def accuracy(
    head: RelationHead, examples: Sequence[ReferenceExample], disturbance: Disturbance | None
) -> dict[str, float]:
    """Share of the referring sentences whose likeliest candidate is right, by kind; and chance.

    'none' is how well the probability of none tells sentences that mean nothing from those with
    the same relations that mean something (AUROC); 'anything' is the same for single things and
    sentences such as "everything on the table".
    """
    head.eval()
    rng = np.random.default_rng(0)
    right: dict[str, list[float]] = defaultdict(list)
    asked = [example for example in examples if example.kind in (*REFERRING, 'none')]
    open_ = [example for example in examples if example.is_anything]
    asked += [e.alone(number) for e in open_ for number in range(len(e.candidates))]
    none: dict[bool, list[float]] = {False: [], True: []}
    alone: dict[bool, list[float]] = {False: [], True: []}
    for first in range(0, len(asked), 64):
        part = asked[first : first + 64]
        arguments, wanted = collate(part, rng, disturbance)
        found = head(*arguments)
        best = found[:, :-1].argmax(dim=1)
        hits = wanted.gather(1, best[:, None])[:, 0] > 0
        is_none = wanted[:, -1] > 0.5
        for example, hit, absent, p in zip(part, hits.tolist(), is_none.tolist(), found[:, -1]):
            if example.is_anything:
                alone[absent].append(float(p))
                continue
            if example.relation in ABSOLUTE:
                none[absent].append(float(p))
            if absent:
                continue
            right[example.kind].append(hit)
            right['all'].append(hit)
            right['chance'].append(1 / len(example.candidates))
    shares = {name: float(np.mean(values)) for name, values in sorted(right.items())}
    shares['none'] = auroc(none[True], none[False])
    shares['anything'] = auroc(alone[True], alone[False])
    return {name: round(share, 3) for name, share in shares.items()}


def build(rooms: int, split: str, language: LanguageEncoder) -> list[ReferenceExample]:
    """Make the examples of many rooms."""
    seeds = tqdm(range(rooms), desc=f'{split} rooms')
    return [example for seed in seeds for example in room_examples(seed, split, language)]


def build_houses(houses: int, split: str, language: LanguageEncoder) -> list[ReferenceExample]:
    """Make the examples of many houses of different sizes."""
    rng, first, examples = np.random.default_rng(0), 0, []
    for _ in tqdm(range(houses), desc=f'{split} houses'):
        seeds = range(first, first + int(rng.integers(*HOUSE_ROOMS, endpoint=True)))
        examples += house_examples(seeds, split, language)
        first = seeds.stop
    return examples


def _weights(examples: Sequence[ReferenceExample]) -> NDArray[np.float64]:
    """Say how often examples are drawn: (n,) that sum to 1; nothing for no examples."""
    # Most rooms have two of a kind, and of two the second is the last.
    weights = np.array([max(len(e.candidates) - 1, 1) / (1 + e.is_plain) for e in examples])
    weights[[e.kind == 'none' for e in examples]] *= 0.5  # about as many as hold
    weights[[e.is_anything for e in examples]] = 1.0
    return weights / weights.sum()


def train_head(
    examples: Sequence[ReferenceExample],
    validation: Mapping[str, Sequence[ReferenceExample]],  # by what the log calls them
    steps: int,
    seed: int,
    log: Path,
    houses: Sequence[ReferenceExample] = (),  # half of what is drawn, if there are any
    batch_size: int = 64,
    learning_rate: float = 2e-3,
) -> RelationHead:
    """Train from random parameters; ``log`` is the folder of the training log."""
    torch.manual_seed(seed)
    rng, disturbance = np.random.default_rng(seed), Disturbance()
    head = RelationHead(examples[0].reference.words.shape[1])
    weights = _weights(examples)
    if houses:
        weights = np.concatenate([weights, _weights(houses)]) / 2
        examples = [*examples, *houses]
    some = rng.choice(len(examples), min(2000, len(examples)), replace=False)
    sample = np.concatenate([examples[i].draw(rng, disturbance)[0] for i in some])
    head.mean.copy_(torch.from_numpy(sample.mean(axis=0)))
    head.deviation.copy_(torch.from_numpy(sample.std(axis=0) + 0.1))
    optimizer = torch.optim.AdamW(head.parameters(), learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    journal = Journal(log, steps, 0)
    for step in range(1, steps + 1):
        head.train()
        batch = [examples[i] for i in rng.choice(len(examples), batch_size, p=weights)]
        arguments, wanted = collate(batch, rng, disturbance)
        log_probability = head(*arguments)
        # Less the entropy of the targets, so that 0 is perfect for "all chairs" too.
        entropy = -(wanted * wanted.clamp(min=1e-9).log()).sum(dim=1)
        loss = (-(wanted * log_probability).sum(dim=1) - entropy).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        journal.add({'loss': loss.item()})
        line = {'rate': float(schedule.get_last_lr()[0])}
        is_checked = step % CHECK_EVERY == 0 or step == steps
        for where, asked in validation.items() if is_checked else ():
            true, disturbed = (accuracy(head, asked, d) for d in (None, disturbance))
            tqdm.write(f'step {step}, {where}: true boxes {true}\n  disturbed {disturbed}')
            line |= {f'{where}_true_{name}': share for name, share in true.items()}
            line |= {f'{where}_disturbed_{name}': share for name, share in disturbed.items()}
        if step % LOG_EVERY == 0 or is_checked:
            journal.write(step, line)
    journal.close()
    return head.eval()


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rooms', type=int, default=800)
    parser.add_argument('--houses', type=int, default=100)
    parser.add_argument('--validation-rooms', type=int, default=40)
    parser.add_argument('--validation-houses', type=int, default=5)
    parser.add_argument('--steps', type=int, default=5000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument('--log', type=Path, default=Path('runs/relations'), help='folder')
    options = parser.parse_args()
    for folder in (options.out.parent, options.log):
        folder.mkdir(parents=True, exist_ok=True)  # now, not after the training
    language = load_language_encoder(LANGUAGE)
    examples = build(options.rooms, 'train', language)
    houses = build_houses(options.houses, 'train', language)
    rooms = build(options.validation_rooms, 'val', language)
    validation = {'rooms': rooms}
    if options.validation_houses:
        validation['houses'] = build_houses(options.validation_houses, 'val', language)
    print(f'sentences to train with: {len(examples)} about rooms, {len(houses)} about houses')
    head = train_head(examples, validation, options.steps, options.seed, options.log, houses)
    notes = {name: getattr(options, name) for name in ('rooms', 'houses', 'steps', 'seed')}
    notes['validation'] = {where: accuracy(head, own, None) for where, own in validation.items()}
    head.save(options.out, LANGUAGE, notes)


if __name__ == '__main__':
    main()
