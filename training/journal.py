"""What a training run writes down: progress bar, ``log.csv`` and TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

SHOWN = (
    'loss', 'mask', 'dice', 'correspondence', 'photometric', 'feature', 'named', 'oracle_iou',
    'samples_per_second', 'data_wait',
)  # fmt: skip
Pending = dict[str, list[float]]  # the values of the steps since the last line


class Journal:
    """Means of the logged values since the last line.

    What a killed run wrote after its last checkpoint is taken back: these steps come again.
    ``pending`` holds what the next line is the mean of; a run that keeps it with its checkpoints
    writes the very lines of one that was not stopped.
    """

    def __init__(self, path: Path, total: int, done: int, pending: Pending | None = None) -> None:
        self._writer = SummaryWriter(str(path), purge_step=done + 1)
        self._path = path / 'log.csv'
        self._columns, rows = _read(self._path, done)
        self._rewrite(rows)
        self._values: Pending = {} if pending is None else pending
        self._bar = tqdm(total=total, initial=done, mininterval=5)

    def add(self, values: dict[str, float]) -> None:
        """Note the values of one step."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)
        self._bar.update()

    def write(self, step: int, extra: dict[str, float]) -> None:
        """Write a line of means, with values that are no means beside them."""
        means = {name: float(np.nanmean(values)) for name, values in self._values.items()}
        self._values.clear()
        values = means | extra
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if new := [name for name in ('step', *values) if name not in self._columns]:
            _, rows = _read(self._path, step)
            self._columns += new
            self._rewrite(rows)
        with open(self._path, 'a', newline='') as file:
            text = {name: f'{value:.5g}' for name, value in values.items()}
            csv.DictWriter(file, self._columns).writerow({'step': step, **text})
        self._bar.set_postfix({name: f'{values[name]:.3g}' for name in SHOWN if name in values})

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        temporary = self._path.with_suffix('.tmp')
        with open(temporary, 'w', newline='') as file:
            writer = csv.DictWriter(file, self._columns, extrasaction='ignore')
            if self._columns:
                writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self._path)

    def close(self) -> None:
        """Close files and bar."""
        self._bar.close()
        self._writer.close()


def _read(path: Path, last: int) -> tuple[list[str], list[dict[str, str]]]:
    """Read the columns and the whole lines of a log up to a step."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    reader = csv.DictReader(line for line in lines if line.endswith('\n'))
    # An older log says 1e+05 for step 100000.
    rows = [row for row in reader if int(float(row['step'])) <= last]
    return list(reader.fieldnames or []), rows
