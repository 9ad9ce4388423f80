"""What is measured, side by side with what: each module has a ``main()`` and runs on its own."""

from __future__ import annotations

import json


def report(
    measure: str, value: float, unit: str, spread: tuple[float, float] | None = None, note: str = ''
) -> None:
    """Print one measurement as a line of JSON, which ``benchmarks.run`` gathers into a table.

    ``spread`` is the lowest and the highest of the repetitions whose median ``value`` is.
    """
    line = {'measure': measure, 'value': value, 'unit': unit, 'spread': spread, 'note': note}
    print(json.dumps(line), flush=True)
