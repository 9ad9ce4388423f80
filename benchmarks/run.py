"""Run the benchmarks, one process each: python -m benchmarks.run [NAME ...].

Measurements (lines of JSON, see ``benchmarks.report``) are gathered into one Markdown table at the
end; whatever else a benchmark prints is passed on. Each has a process of its own because some pin
themselves to one core before they import anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Run the benchmarks named, or all, and print the table."""
    known = sorted(
        path.stem for path in FOLDER.glob('*.py') if path.stem not in ('__init__', 'run')
    )
    parser = argparse.ArgumentParser(description='Run benchmarks and gather what they measure.')
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'of {", ".join(known)} (all)')
    names = parser.parse_args().names or known
    unknown = sorted(set(names) - set(known))
    if unknown:
        parser.error(f'there is no benchmark {", ".join(unknown)}, expected some of {known}')
    rows, failed = [], []
    for name in names:
        print(f'# {name}', flush=True)
        measured, status = run_benchmark(name)
        rows += [(name, line) for line in measured]
        if status != 0:
            failed.append(name)
    print_table(rows)
    if failed:
        sys.exit(f'these benchmarks failed: {", ".join(failed)}')


def run_benchmark(name: str) -> tuple[list[dict], int]:
    """Run one benchmark; return what it measured and its exit status."""
    command = [sys.executable, '-m', f'benchmarks.{name}']
    measured = []
    with subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                measured.append(json.loads(line))
            except json.JSONDecodeError:
                print(line, end='', flush=True)
    return [line for line in measured if isinstance(line, dict)], process.returncode


def print_table(rows: list[tuple[str, dict]]) -> None:
    """Print measurements as Markdown."""
    print('\n| benchmark | measure | median | spread | unit | |')
    print('| --- | --- | ---: | ---: | --- | --- |')
    for name, row in rows:
        spread = '-'.join(f'{value:.4g}' for value in row['spread'] or [])
        value = f'{row["value"]:.4g}'
        print(f'| {name} | {row["measure"]} | {value} | {spread} | {row["unit"]} | {row["note"]} |')


if __name__ == '__main__':
    main()
