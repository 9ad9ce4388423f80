"""Saved encodings against encoding again, on one thread: python -m benchmarks.encodings.

The map is that of the benchmark ``serving``: simulated rooms, one to a chunk, and the shipped
network. The clock is the CPU time of the process. Answers are compared instance by instance: those
to the same queries from the file's encodings, in half precision, and from the network's own.

``--chunks 2 --rooms 1 --frames 3 --queries 2`` is the short form that the tests run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

from benchmarks import report
from benchmarks.serving import fill, furnish
from lift_gs_ros.grounding.encoding_file import EncodingFile
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding

LIMIT = 10**10  # bytes


def main() -> None:
    """Measure, and report per chunk."""
    parser = argparse.ArgumentParser(description='Time saved encodings against encoding again.')
    for name, default in (('chunks', 9), ('rooms', 3), ('frames', 60), ('queries', 20)):
        parser.add_argument(f'--{name}', type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clouds, plain, compared, chunk_size = furnish(options.rooms, options.frames)
    half = options.queries // 2
    queries = [*plain[:half], *compared[:half]]
    settings = GrounderSettings(chunk_size=chunk_size)
    first, second = (Grounder.load('', 'cpu', settings) for _ in range(2))
    fill(second, clouds, 1)  # whatever is slow the first time
    second.clear()
    _, encode = seconds(lambda: fill(first, clouds, options.chunks))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'map.encodings'
        saved, write = seconds(lambda: write_snapshot(first, path))
        loaded, read = seconds(lambda: EncodingFile.read(path, LIMIT))
        size = path.stat().st_size
    second.restore(loaded)
    _, restore = seconds(lambda: fill(second, clouds, options.chunks))
    assert not second._saved, 'encoded again'
    points = sum(len(parts.features) for parts in saved.chunks.values())
    note = f'{points / options.chunks:.0f} points with context, {options.chunks} chunks'
    report('a chunk in the file', size / 1e6 / options.chunks, 'MB', note=note)
    for name, took in {
        'encode a chunk': encode,
        'write it to the file': write,
        'read it and check the checksum': read,
        'make the encoding from it': restore,
    }.items():
        report(name, 1e3 * took / options.chunks, 'ms')
    compare([grounder.ground_many(queries) for grounder in (first, second)])


def seconds(work: Callable) -> tuple:
    """Do some work; return its result and its CPU time."""
    begin = time.process_time()
    result = work()
    return result, time.process_time() - begin


def write_snapshot(grounder: Grounder, path: Path) -> EncodingFile:
    """Save as the node does."""
    saved = grounder.snapshot()
    saved.write(path, LIMIT)
    return saved


def compare(answers: Sequence[Sequence[Grounding]]) -> None:
    """Report how far answers to the same queries differ, instance by instance."""
    changes, overlaps, without = [0.0], [1.0], 0
    for one, other in zip(*answers):
        for mine in one.instances:
            same = [theirs for theirs in other.instances if theirs.phrase == mine.phrase]
            best = max(same, key=lambda theirs: overlap(mine, theirs), default=None)
            if best is None or overlap(mine, best) < 0.5:
                without += 1
                continue
            changes.append(abs(mine.score - best.score))
            overlaps.append(overlap(mine, best))
    number = sum(len(answer.instances) for answer in answers[0])
    note = f'{number} instances of {len(answers[0])} queries'
    report('instances without a counterpart', without, 'instances', note=note)
    report('change of the score', median(changes), 'probability', (min(changes), max(changes)))
    report('IoU of the points', median(overlaps), 'share', (min(overlaps), max(overlaps)))


def overlap(one: GroundedInstance, other: GroundedInstance) -> float:
    """IoU of the points of two instances."""
    sets = [{tuple(point) for point in i.points.tolist()} for i in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


if __name__ == '__main__':
    main()
