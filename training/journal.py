"""What a training run writes down: progress bar, ``log.csv`` and TensorBoard."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

SHOWN = ('loss', 'mask', 'dice', 'correspondence', 'feature', 'named', 'oracle_iou', 'data_wait')


class Journal:
    """Means of the logged values since the last line."""

    def __init__(self, path: Path, total: int, done: int) -> None:
        self._writer = SummaryWriter(str(path))
        self._file = open(path / 'log.csv', 'a+', newline='')  # noqa: SIM115, open for the run
        self._file.seek(0)
        self._columns = next(csv.reader(self._file), [])  # of a run that is resumed
        self._csv: csv.DictWriter | None = None
        self._values: dict[str, list[float]] = defaultdict(list)
        self._bar = tqdm(total=total, initial=done, mininterval=5)

    def add(self, values: dict[str, float]) -> None:
        """Note the values of one step."""
        for name, value in values.items():
            self._values[name].append(value)
        self._bar.update()

    def write(self, step: int, extra: dict[str, float]) -> None:
        """Write a line of means, with values that are no means beside them."""
        means = {name: float(np.nanmean(values)) for name, values in self._values.items()}
        self._values.clear()
        values = means | extra
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        row = {'step': step, **values}
        if self._csv is None:
            columns = self._columns or list(row)
            self._csv = csv.DictWriter(self._file, columns, extrasaction='ignore')
            if not self._columns:
                self._csv.writeheader()
        self._csv.writerow({name: f'{value:.5g}' for name, value in row.items()})
        self._file.flush()
        self._bar.set_postfix({name: f'{values[name]:.3g}' for name in SHOWN if name in values})

    def close(self) -> None:
        """Close files and bar."""
        self._bar.close()
        self._file.close()
        self._writer.close()
