"""Settings of a training program: a YAML file in, a checked dataclass out."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

Settings = TypeVar('Settings')


def load_settings(
    settings_class: type[Settings], path: str | Path | None, overrides: Sequence[str] = ()
) -> Settings:
    """Read a YAML file and ``name=value`` or ``group.name=value`` overrides into a dataclass.

    Raises ValueError, naming the file and the field, for unknown names and for wrong types; the
    dataclasses check the values themselves.
    """
    values: dict[str, Any] = {}
    if path is not None:
        with open(path, encoding='utf-8') as file:
            values = yaml.safe_load(file) or {}
        if not isinstance(values, dict):
            raise ValueError(f'{path} holds a {type(values).__name__}, expected names and values')
    for override in overrides:
        name, separator, text = override.partition('=')
        if not separator:
            raise ValueError(f'override {override!r} has no "=", expected name=value')
        group = values
        *parents, last = name.split('.')
        for parent in parents:
            group[parent] = group = {} if group.get(parent) is None else group[parent]
            if not isinstance(group, dict):
                raise ValueError(f'override {override!r}: {parent} is {group!r}, no group of names')
        group[last] = yaml.safe_load(text) if text else ''
    return _build(settings_class, values, str(path or 'command line'))


def _build(settings_class: Any, values: dict[str, Any], where: str) -> Any:
    types = typing.get_type_hints(settings_class)
    fields = [field.name for field in dataclasses.fields(settings_class) if field.init]
    arguments = {}
    for name, value in values.items():
        if name not in fields:
            raise ValueError(f'{where}: unknown setting {name!r}, expected one of {fields}')
        arguments[name] = _convert(types[name], value, f'{where}: {name}')
    return settings_class(**arguments)


def _convert(expected: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(expected):
        if not isinstance(value, (dict, type(None))):
            raise ValueError(f'{where} is {value!r}, expected a group of names and values')
        return _build(expected, value or {}, where)
    if typing.get_origin(expected) is tuple:
        kinds = typing.get_args(expected)
        if not isinstance(value, list) or len(value) != len(kinds):
            raise ValueError(f'{where} is {value!r}, expected a list of {len(kinds)}')
        return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value))
    # YAML reads 1e-3 as a string: only 1.0e-3 is a number to it.
    if expected is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ValueError(f'{where} is {value!r}, expected {expected.__name__}')
    return value
