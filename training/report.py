"""Make docs/results.md and its plots from the result files of experiments.

    python -m training.report docs/results --into docs/results.md

Every number in the tables is read from a file that ``training.experiments`` or
``training.evaluate`` wrote; nothing is typed in. Where there are several seeds a cell
holds mean and standard deviation.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from lift_gs_ros.json_file import read_json
from training.evaluate import BASELINES
from training.experiments import (
    PRETRAINED,
    RATIOS,
    SCRATCH,
    SCRATCH_STEPS,
    WITHOUT,
    Experiment,
)

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402, after the choice of backend

BEGIN = '<!-- made by training.report, not by hand -->'
END = '<!-- end of what training.report made -->'
SHIPPED = 'shipped'  # result file of the checkpoint in the package
HOUSES = 'houses'  # folder beside it, of its results in maps of several rooms
AGAIN = 'again'  # folder beside it, of a pretraining and fine-tunings as the code is now
COLUMNS = {  # title: group and key in evaluate.json
    'colour-nouns @0.25': ('colour_nouns', 'acc25'),
    '@0.5': ('colour_nouns', 'acc50'),
    'held-out @0.25': ('held_out', 'acc25'),
    'held-out @0.5': ('held_out', 'acc50'),
    'nouns @0.25': ('nouns', 'acc25'),
    'nouns @0.5': ('nouns', 'acc50'),
    'AP25': ('nouns', 'AP25'),
    'referring @0.25': ('referring', 'acc25'),
    'referring @0.5': ('referring', 'acc50'),
    'right of its kind': ('referring', 'target_given_kind'),
    'AUROC absent': ('absent', 'auroc'),
    'false answers': ('absent', 'false_answers_at_90_recall'),
}
MASK_COLUMNS = {
    'AP': ('nouns', 'AP'),
    'AP50': ('nouns', 'AP50'),
    'AP25': ('nouns', 'AP25'),
    'several F1 @0.25': ('several', 'f1_25_multiple'),
    'several F1 @0.5': ('several', 'f1_50_multiple'),
    'mIoU colour-nouns': ('colour_nouns', 'miou'),
    'mIoU nouns': ('nouns', 'miou'),
    'mIoU referring': ('referring', 'miou'),
    'held-out nouns @0.5': ('nouns_held_out', 'acc50'),
    'held-out referring @0.5': ('referring_held_out', 'acc50'),
}
Rows = list[tuple[str, list[dict]]]  # names with the scores of each seed

ASKED = ('colour_nouns', 'held_out', 'nouns', 'referring')  # their numbers tell rooms apart


@dataclass(frozen=True)
class Result:
    """What one experiment came to."""

    experiment: Experiment
    scores: dict
    evaluation: dict


def read_results(folder: str | Path) -> list[Result]:
    """Read all result files of a folder.

    Raises ValueError where experiments were evaluated on different rooms: they can not be compared.
    """
    results = []
    for path in sorted(Path(folder).glob('*.json')):
        content = read_json(path, dict)
        if 'experiment' in content:
            experiment = Experiment(**content['experiment'])
            results.append(Result(experiment, content['scores'], content['evaluation']))
    rooms = {json.dumps(result.evaluation, sort_keys=True) for result in results}
    if len(rooms) > 1:
        raise ValueError(
            f'the results in {folder} were evaluated on different rooms '
            f'({", ".join(sorted(rooms))}): evaluate them again with one seed and number of rooms'
        )
    return results


def read_baselines(folder: str | Path) -> dict[str, dict]:
    """Read what ``training.evaluate`` wrote into a folder: scores by the file's name.

    Raises ValueError where they, or the experiments beside them, are of different rooms, as the
    numbers of questions tell.
    """
    contents = {path.stem: read_json(path, dict) for path in sorted(Path(folder).glob('*.json'))}
    asked = {_questions(content, name): name for name, content in contents.items()}
    if len(asked) > 1:
        raise ValueError(
            f'the results in {folder} are of different rooms, for they were asked different '
            f'numbers of questions: {", ".join(f"{name} {n}" for n, name in asked.items())}: '
            'evaluate them again with one seed and number of rooms'
        )
    return {name: scores for name, scores in contents.items() if 'experiment' not in scores}


def _questions(content: dict, name: str) -> tuple[int, ...]:
    try:
        return tuple(content.get('scores', content)[group]['n'] for group in ASKED)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{name}.json is no result of training.experiments or training.evaluate, it lacks '
            f'{error}: keep other files elsewhere'
        ) from error


def cell(values: Iterable[float | None]) -> str:
    """Percent, with the standard deviation over seeds where there are several."""
    known = 100 * np.array([value for value in values if value is not None])
    if not len(known):
        return ''
    spread = f' ± {known.std(ddof=1):.1f}' if len(known) > 1 else ''
    return f'{known.mean():.1f}{spread}'


def table(rows: Rows, columns: Mapping[str, tuple[str, str]] = COLUMNS) -> list[str]:
    """Markdown table of named groups of scores, one group of seeds a line.

    What a result lacks, because it was measured before that was counted, is left empty.
    """
    lines = [
        f'| | seeds | {" | ".join(columns)} |',
        f'| --- | --- |{" --- |" * len(columns)}',
    ]
    for name, scores in rows:
        if scores:
            cells = [
                cell(one.get(group, {}).get(key) for one in scores)
                for group, key in columns.values()
            ]
            lines.append(f'| {name} | {len(scores)} | {" | ".join(cells)} |')
    return lines


def _select(results: list[Result], pretraining: str, ratio: float) -> list[dict]:
    return [
        result.scores
        for result in results
        if result.experiment.pretraining == pretraining and result.experiment.data_ratio == ratio
    ]


def rows_a(results: list[Result], baselines: dict[str, dict]) -> Rows:
    """Scratch against pretrained over shares of the labels (the paper's tables 1, 2, 5 and 6).

    Other results of ``training.evaluate`` are rows of their own, called after their files.
    """
    rows = [(name, [baselines[name]]) for name in BASELINES if name in baselines]
    rows += [('pretrained, no labels', _select(results, PRETRAINED, 0.0))]
    for ratio in RATIOS:
        for start, name in ((SCRATCH, 'from scratch'), (PRETRAINED, 'pretrained')):
            rows.append(
                (f'{name}, {100 * ratio:.0f}% of the labels', _select(results, start, ratio))
            )
    others = sorted(set(baselines) - {*BASELINES, SHIPPED})
    rows += [(name.replace('_', ' '), [baselines[name]]) for name in others]
    if SHIPPED in baselines:
        rows.append(('the weights that ship', [baselines[SHIPPED]]))
    return rows


def rows_b(results: list[Result]) -> Rows:
    """What each loss of pretraining is good for (the paper's table 4)."""
    rows = [(f'{kind}, no labels', _select(results, kind, 0.0)) for kind in WITHOUT]
    scratch = f'from scratch, all labels, {SCRATCH_STEPS} times the steps'
    rows += [(scratch, _select(results, SCRATCH, 1.0))]
    rows += [(f'{kind}, all labels', _select(results, kind, 1.0)) for kind in WITHOUT]
    return rows


def rows_of(folder: Path) -> Rows:
    """Read what ``training.evaluate`` wrote into a folder: a row for each file, named after it."""
    files = sorted(folder.glob('*.json'))
    return [(path.stem.replace('_', ' '), [read_json(path, dict)]) for path in files]


def tables(results: list[Result], baselines: dict[str, dict], folder: Path) -> list[str]:
    """All tables, each below its title."""
    rows, losses = rows_a(results, baselines), rows_b(results)
    lines = ['### Table A: scratch against pretrained', '', *table(rows)]
    if any(result.experiment.pretraining in WITHOUT for result in results):
        lines += ['', '### Table B: the losses of pretraining', '', *table(losses)]
    if houses := rows_of(folder / HOUSES):
        title = '### Table C: several rooms in one map'
        single = [('single rooms', [baselines[SHIPPED]])] if SHIPPED in baselines else []
        lines += ['', title, '', *table(single + houses)]
    seen = [scores for _, scores in rows]
    rows += [(name, scores) for name, scores in losses if scores not in seen]
    title = '### Table D: masks, several targets, and more of what is held out'
    lines += ['', title, '', *table(rows, MASK_COLUMNS)]
    if again := rows_of(folder / AGAIN):
        title = '### Table E: scratch at its plateau against a pretraining, as the code is now'
        lines += ['', title, '', *table(again)]
    return lines


def plot_ratios(results: list[Result], path: Path) -> None:
    """Draw accuracy over the share of the labels (the paper's figure 6)."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True)
    for axis, group in zip(axes, ('nouns', 'referring')):
        for start, label in ((SCRATCH, 'from scratch'), (PRETRAINED, 'pretrained')):
            points: dict[float, list[float]] = defaultdict(list)
            for result in results:
                if result.experiment.pretraining == start and result.experiment.data_ratio:
                    points[result.experiment.data_ratio].append(result.scores[group]['acc50'])
            ratios = sorted(points)
            means = [100 * np.mean(points[ratio]) for ratio in ratios]
            axis.plot([100 * ratio for ratio in ratios], means, marker='o', label=label)
        axis.set(title=group, xlabel='labels, %', ylabel='Acc@0.5, %')
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_training(logs: dict[str, Path], path: Path) -> None:
    """Draw training curves from ``log.csv`` files: loss, named proposals, best-fitting IoU."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2))
    for name, log in logs.items():
        rows = np.genfromtxt(log, delimiter=',', names=True)
        for axis, column in zip(axes, ('loss', 'named', 'oracle_iou')):
            window = max(1, len(rows) // 40)
            smooth = np.convolve(rows[column], np.ones(window) / window, 'valid')
            axis.plot(rows['step'][window - 1 :], smooth, label=name)
            axis.set(xlabel='step', title=column)
    figure.tight_layout()
    lines = axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc='center left', bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120, bbox_inches='tight')
    plt.close(figure)


def insert(document: str, lines: Sequence[str]) -> str:
    """Put lines between the two marks of a document, in place of what was there.

    Raises ValueError where a mark is missing.
    """
    before, found, rest = document.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found and found_end):
        raise ValueError(f'the document has no lines {BEGIN!r} and {END!r} to put tables between')
    return '\n'.join([before + BEGIN, '', *lines, '', END + after])


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('results', type=Path, help='folder of training.experiments')
    parser.add_argument('--into', type=Path, default=Path('docs/results.md'))
    parser.add_argument('--logs', nargs='*', default=[], help='name=log.csv, for training.png')
    options = parser.parse_args()
    results = read_results(options.results)
    if not results:
        parser.error(f'no results in {options.results}: run python -m training.experiments')
    evaluation, baselines = results[0].evaluation, read_baselines(options.results)
    lines = [
        f'{evaluation["rooms"]} test rooms, seed {evaluation["seed"]}; percent.',
        '',
        *tables(results, baselines, options.results),
    ]
    picture = Path('images') / 'data_ratio.png'
    (options.into.parent / picture).parent.mkdir(parents=True, exist_ok=True)
    if options.logs:
        logs = {name: Path(log) for name, _, log in (item.partition('=') for item in options.logs)}
        plot_training(logs, options.into.parent / 'images' / 'training.png')
    if len({result.experiment.data_ratio for result in results} - {0.0}) > 1:
        plot_ratios(results, options.into.parent / picture)
        lines += ['', f'![accuracy over the share of the labels]({picture})']
    options.into.write_text(insert(options.into.read_text(), lines))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
