"""Answers for a person: a table on the terminal, answers.json, pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lift_gs_ros import drawing
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.grounding.instances import Grounding

MAX_ROWS = 3  # targets of one answer in the table; answers.json has them all


def print_table(answers: Sequence[Grounding], verdicts: Sequence[str] = ()) -> None:
    """Print one line a target; the verdicts, one an answer, where the truth is known."""
    print(f'{"query":<34} {"phrase":<22} {"score":>5} {"center (m)":>20} {"size (m)":>17}  truth')
    for answer, verdict in zip(answers, verdicts or [''] * len(answers)):
        if not answer.targets:
            reason = answer.message or f'not here (none {answer.none_score:.2f})'
            print(f'{answer.query:<34.34} {reason:<67}  {verdict}')
        for instance in answer.targets[:MAX_ROWS]:
            center = ' '.join(f'{value:6.2f}' for value in instance.box.center)
            size = ' '.join(f'{value:5.2f}' for value in instance.box.size)
            print(
                f'{answer.query:<34.34} {instance.phrase:<22.22} {instance.score:5.2f} '
                f'{center:>20} {size:>17}  {verdict}'
            )
            verdict = ''
        if len(answer.targets) > MAX_ROWS:
            print(f'{"":<34} and {len(answer.targets) - MAX_ROWS} more')
        if answer.targets and answer.message:
            print(f'{"":<34} {answer.message}')


def write_on_map(
    out: Path, answers: Sequence[Grounding], weights: str, cloud: PointCloud, voxel_size: float
) -> None:
    """Print the table; write answers.json and a picture of the map (metres) for each answer."""
    warn_of_untrained(weights)
    print_table(answers)
    out.mkdir(parents=True, exist_ok=True)
    write_answers(out / 'answers.json', answers, weights)
    for i, answer in enumerate(answers):
        drawing.draw_map(cloud, answer, voxel_size).save(out / f'{i:02d}_map.png')


def write_answers(path: Path, answers: Sequence[Grounding], weights: str) -> None:
    """Write ``answers.json``: a list of ``Grounding.to_json()``, each with the weights' name."""
    texts = [{**answer.to_json(), 'weights': weights} for answer in answers]
    path.write_text(json.dumps(texts, indent=2) + '\n')


def warn_of_untrained(weights: str) -> None:
    """Say plainly when the answers come from random weights."""
    if weights == 'untrained':
        print('The weights are UNTRAINED: the answers mean nothing.\n')
