"""The comparisons of docs/results.md: every run, every evaluation, one after the other.

    python -m training.experiments --out runs/experiments --rooms 40 --seeds 0 1 2
    python -m training.experiments --out runs/experiments --list

Each experiment leaves ``<name>.json`` and is not done twice; a run that was stopped resumes. Tables
and plots are made of these files by ``training.report``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from training.config import load_settings
from training.evaluate import evaluate
from training.finetune import FinetuneSettings, finetune
from training.pretrain import PretrainSettings, pretrain
from training.trainer import Stopped

RATIOS = (0.1, 0.2, 0.5, 1.0)
# Loss weights that are 0 in the short pretrainings of table B, as in the paper's table 4.
WITHOUT = {
    'all losses': [],
    'no grounding': [f'grounding.{term}' for term in ('mask', 'dice', 'correspondence')],
    'no feature': ['feature'],
    'no photometric': ['photometric'],
}
SCRATCH = 'scratch'
PRETRAINED = 'pretrained'  # from the checkpoint that is given: the long pretraining
SCRATCH_STEPS = 3  # times those of the fine-tuning: without pretraining the plateau is farther


@dataclass(frozen=True)
class Experiment:
    """One line of a table: a pretraining, and what is fine-tuned from it, if anything is."""

    pretraining: str  # SCRATCH, PRETRAINED, or a key of WITHOUT: a short pretraining
    data_ratio: float  # of the labelled scenes; 0: as it is after pretraining
    seed: int

    @property
    def name(self) -> str:
        """Name of the experiment's files."""
        stage = f'finetuned_{100 * self.data_ratio:.0f}' if self.data_ratio else 'zero_shot'
        return f'{self.pretraining.replace(" ", "_")}-{stage}-seed_{self.seed}'


def experiments(seeds: Sequence[int]) -> list[Experiment]:
    """All experiments of some seeds, those of table A first.

    Table A: scratch against pretrained at several shares of the labels. Table B: which losses
    pretraining needs, from pretrainings that are short, for each costs hours.
    """
    found = []
    for seed in seeds:
        found += [Experiment(PRETRAINED, 0.0, seed)] if seed == seeds[0] else []  # no seed in it
        found += [Experiment(start, r, seed) for r in RATIOS for start in (SCRATCH, PRETRAINED)]
    for seed in seeds:
        found += [Experiment(kind, ratio, seed) for kind in WITHOUT for ratio in (0.0, 1.0)]
    return found


@dataclass(frozen=True)
class Bench:
    """How experiments are run."""

    out: Path
    pretrained: Path  # checkpoint that table A starts from
    pretrain_config: Path  # of the pretrainings of table B
    finetune_config: Path
    overrides: Sequence[str]  # of both configs
    rooms: int  # to evaluate on
    evaluation_seed: int
    workers: int

    def run(self, experiment: Experiment) -> Path:
        """Train and evaluate, as far as that has not been done; returns the result's file.

        Raises ValueError where that was done on other rooms.
        """
        result = self.out / f'{experiment.name}.json'
        evaluation = {'seed': self.evaluation_seed, 'rooms': self.rooms}
        if result.exists():
            if (theirs := json.loads(result.read_text())['evaluation']) != evaluation:
                raise ValueError(
                    f'{result} was evaluated on {theirs}, this is {evaluation}: move that file '
                    'away to evaluate again, or use the same rooms'
                )
            return result
        checkpoint = self._train(experiment)
        scores = evaluate(str(checkpoint), self.evaluation_seed, self.rooms, workers=self.workers)
        content = {
            'experiment': asdict(experiment),
            'evaluation': evaluation,
            'scores': scores,
        }
        temporary = result.with_suffix('.tmp')
        temporary.write_text(json.dumps(content, indent=1) + '\n')
        temporary.replace(result)
        return result

    def _train(self, experiment: Experiment) -> Path:
        start = ''
        if experiment.pretraining == PRETRAINED:
            start = str(self.pretrained)
        elif experiment.pretraining != SCRATCH:
            settings = self.pretrain_settings(experiment.pretraining, experiment.seed)
            start = str(pretrain(settings))
        if not experiment.data_ratio:
            return Path(start)
        return finetune(self.finetune_settings(experiment, start))

    def finetune_settings(self, experiment: Experiment, start: str) -> FinetuneSettings:
        """Settings of a fine-tuning from a checkpoint, '' for scratch."""
        settings = load_settings(
            FinetuneSettings,
            self.finetune_config,
            [
                *self.overrides,
                f'seed={experiment.seed}',
                f'start_from={start}',
                f'data_ratio={experiment.data_ratio}',
                f'output={self.out / experiment.name}',
            ],
        )
        if experiment.pretraining == SCRATCH:
            return replace(settings, steps=SCRATCH_STEPS * settings.steps)
        return settings

    def pretrain_settings(self, kind: str, seed: int) -> PretrainSettings:
        """Settings of a pretraining without some of the losses."""
        zeros = [f'loss.{name}=0' for name in WITHOUT[kind]]
        output = self.out / f'{kind.replace(" ", "_")}-seed_{seed}'
        return load_settings(
            PretrainSettings,
            self.pretrain_config,
            [*self.overrides, f'seed={seed}', f'output={output}', *zeros],
        )


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('runs/experiments'))
    started = Path('runs/small_longest/model.safetensors')
    parser.add_argument('--pretrained', type=Path, default=started, help='where table A starts')
    parser.add_argument('--pretrain', type=Path, default=Path('config/train/ablation.yaml'))
    parser.add_argument('--finetune', type=Path, default=Path('config/train/comparison.yaml'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--rooms', type=int, default=40, help='to evaluate on')
    parser.add_argument('--evaluation-seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes that evaluate')
    parser.add_argument('--only', default='', help='experiments with this in their name')
    parser.add_argument('--list', action='store_true', help='say what there is to do')
    parser.add_argument('overrides', nargs='*', help='name=value, for both configs')
    options = parser.parse_args()
    chosen = [e for e in experiments(options.seeds) if options.only in e.name]
    bench = Bench(
        options.out,
        options.pretrained,
        options.pretrain,
        options.finetune,
        options.overrides,
        options.rooms,
        options.evaluation_seed,
        options.workers,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for number, experiment in enumerate(chosen, 1):
        done = (options.out / f'{experiment.name}.json').exists()
        print(f'{number}/{len(chosen)} {experiment.name}{": done" if done else ""}', flush=True)
        if options.list:
            continue
        try:
            bench.run(experiment)
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(130)


if __name__ == '__main__':
    main()
