"""Run the benchmarks, one process each: python -m benchmarks.run [NAME ...] [--write PAGE].

Measurements (lines of JSON, see ``benchmarks.report``) are gathered into one Markdown table at the
end; whatever else a benchmark prints is passed on. Each has a process of its own because some pin
themselves to one core before they import anything. ``--write`` puts what each one said between its
marks in a page of Markdown (docs/performance.md), with the machine and how busy it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NO_BENCHMARKS = {'__init__', 'run', 'graph'}
BY_NAME_ONLY = {'soak'}  # takes many minutes


def main() -> None:
    """Run the benchmarks named, or all, and print the table."""
    known = sorted({path.stem for path in FOLDER.glob('*.py')} - NO_BENCHMARKS)
    parser = argparse.ArgumentParser(description='Run benchmarks and gather what they measure.')
    names = f'of {", ".join(known)} (all but {", ".join(BY_NAME_ONLY)})'
    parser.add_argument('names', nargs='*', metavar='NAME', help=names)
    parser.add_argument('--write', type=Path, metavar='PAGE', help='Markdown with marks for them')
    arguments = parser.parse_args()
    names = arguments.names or [name for name in known if name not in BY_NAME_ONLY]
    unknown = sorted(set(names) - set(known))
    if unknown:
        parser.error(f'there is no benchmark {", ".join(unknown)}, expected some of {known}')
    if arguments.write:  # in vain, and said so hours later, where a mark is missing
        missing = [name for name in names if not _marked(name).search(arguments.write.read_text())]
        if missing:
            parser.error(f'{arguments.write} has no marks <!-- {missing[0]} --> <!-- end -->')
    tables, failed = [], []
    for name in names:
        print(f'# {name}', flush=True)
        busy = os.getloadavg()[0]
        printed, measured, status = run_benchmark(name)
        tables.append(table(measured))
        if status != 0:
            failed.append(name)
        elif arguments.write:
            write(arguments.write, name, f'{machine(busy)}\n\n{tables[-1] or printed}')
    print('\n' + '\n'.join(filter(None, tables)))
    if failed:
        sys.exit(f'these benchmarks failed: {", ".join(failed)}')


def run_benchmark(name: str) -> tuple[str, list[dict], int]:
    """Run one benchmark; return what it said, what it measured, and its exit status."""
    command = [sys.executable, '-m', f'benchmarks.{name}']
    measured, printed = [], ''
    with subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                measured.append(json.loads(line))
            except json.JSONDecodeError:
                printed += line
                print(line, end='', flush=True)
    return printed, [line for line in measured if isinstance(line, dict)], process.returncode


def table(rows: list[dict]) -> str:
    """Write measurements as Markdown."""
    lines = ['| measure | median | spread | unit | |', '| --- | ---: | ---: | --- | --- |']
    for row in rows:
        spread = '-'.join(f'{value:.4g}' for value in row['spread'] or [])
        value = f'{row["value"]:.4g}'
        lines.append(f'| {row["measure"]} | {value} | {spread} | {row["unit"]} | {row["note"]} |')
    return '\n'.join([*lines, '']) if rows else ''


def machine(busy: float) -> str:
    """Say in a line what was measured on, and what else it was doing."""
    names = [
        line.partition(':')[2].strip()
        for line in Path('/proc/cpuinfo').read_text().splitlines()
        if line.startswith('model name')
    ]
    cores = len(os.sched_getaffinity(0))
    quiet = 'nothing else running' if busy < 0.5 else 'OTHER PROGRAMS WERE RUNNING'
    return (
        f'{cores} core{"s" * (cores > 1)} of {names[0] if names else platform.machine()}, '
        f'Python {platform.python_version()}, load average {busy:.1f} at the start: {quiet}.'
    )


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf'(<!-- {name} -->\n).*?(<!-- end -->\n)', re.DOTALL)


def write(page: Path, name: str, text: str) -> None:
    """Put a text between the marks of a benchmark."""
    replaced = _marked(name).sub(
        lambda found: f'{found[1]}{text.strip()}\n{found[2]}', page.read_text()
    )
    page.write_text(replaced)


if __name__ == '__main__':
    main()
