"""Entries of annotation files, JSON or CSV, whose errors say which entry is wrong and how."""

from __future__ import annotations

import ast
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift_gs_ros.json_file import read_json


@dataclass(frozen=True)
class Record:
    """One entry: its fields by name, and where it stands."""

    fields: Mapping[str, Any]
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.fields, dict):
            found = repr(self.fields)[:80]
            raise ValueError(f'{self.where} is {found}, expected named fields: {{"name": value}}')

    def text(self, name: str) -> str:
        """Return a field that is text."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self._error(name, 'text')
        return value

    def number(self, name: str) -> int:
        """Return an object id, written as a number or as its digits."""
        return object_id(self.fields.get(name), f'{self.where}, field "{name}"')

    def items(self, name: str) -> list[Any]:
        """Return a list; in a CSV file it is written as Python writes it."""
        value = self.fields.get(name)
        if isinstance(value, str):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError) as error:
                raise self._error(name, 'a list like [1, 2]') from error
        if not isinstance(value, (list, tuple)):
            raise self._error(name, 'a list')
        return list(value)

    def _error(self, name: str, expected: str) -> ValueError:
        found = repr(self.fields.get(name))[:80]
        return ValueError(
            f'{self.where}, field "{name}" is {found}, expected {expected}: the file is cut off '
            'or of another layout'
        )


def object_id(value: Any, where: str) -> int:
    """Read an object id, a number from 0 or its digits; raises ValueError for anything else."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not is_number and not (isinstance(value, str) and value.strip().isdecimal()):
        raise ValueError(f'{where} is {value!r}, expected an object id: a number from 0')
    return int(value)


def json_records(
    path: str | Path, layout: str, needed: tuple[str, ...], only: str = ''
) -> list[Record]:
    """Read a JSON list of objects that each have some keys; where ``only`` is blank, none is read.

    Raises ValueError where the file is damaged or an entry lacks one.
    """
    entries = read_json(Path(path), list)
    records = [Record(entry, f'{path}, entry {number}') for number, entry in enumerate(entries)]
    read = [record for record in records if not only or record.fields.get(only)]
    for record in read or records:
        _check_names(record.where, record.fields, layout, needed)
    return read


def csv_records(path: str | Path, layout: str, needed: tuple[str, ...]) -> list[Record]:
    """Read a CSV file whose first line names the columns, some of which must be there.

    Raises ValueError for another header, or a row that has not as many cells.
    """
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path} is no CSV file ({error}): get it again') from error
    _check_names(str(path), reader.fieldnames or (), layout, needed)
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise ValueError(
                f'{path}, row {number + 1} has not the {len(reader.fieldnames or ())} cells of the '
                'header: the file is cut off, get it again'
            )
    return [Record(row, f'{path}, row {number + 1}') for number, row in enumerate(rows)]


def _check_names(where: str, names: Any, layout: str, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise ValueError(
            f'{where} has {sorted(map(str, names))}, but not {", ".join(missing)}, which {layout} '
            'has: name the layout that the file is of (docs/datasets.md lists them)'
        )
