"""Time the Grounder on a simulated room: what a keyframe and a query cost, for both model sizes.

A keyframe changes some chunks; "encode a keyframe" is what it costs to encode these again, with
their neighbours where a halo changed. "query to answer" is everything between a sentence that was
not asked before and its instances, on cached encodings: language encoder, decoder, masks, boxes.
The base network has random weights here, so hardly any proposal reaches post-processing.
"""

from __future__ import annotations

import statistics
import time

from benchmarks import report
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.mapping.keyframes import KeyframeSelector
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.model.checkpoint import load_checkpoint
from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.simulation.expressions import make_expressions
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import RoomSequence

ROOM, FRAMES, MEASURED_KEYFRAMES, QUERIES = 0, 60, 5, 8


def main() -> None:
    """Measure the shipped network, then one of the paper's size."""
    room = make_room(ROOM)
    queries = [expression.text for expression in make_expressions(room, ROOM)][:QUERIES]
    language = load_language_encoder('minilm')
    base = LiftGS(LiftGSConfig.base(language='minilm', language_dim=language.dim), 'torch')
    for name, model in (('small', load_checkpoint('')), ('base', base)):
        measure(name, model, language, RoomSequence(room, FRAMES), queries)


def measure(name: str, model, language, sequence: RoomSequence, queries: list[str]) -> None:
    """Fuse a walk, encode after each of the last keyframes, ask at the end."""
    voxel_map, keyframes = VoxelMap(), KeyframeSelector()
    grounder = Grounder(model, language, GrounderSettings(chunk_size=voxel_map.chunk_size))
    frames = [f for f in sequence if keyframes.is_keyframe(f.stamp, f.world_from_camera)]
    encode_ms, chunks = [], []
    for i, frame in enumerate(frames):
        for key in voxel_map.integrate(frame):
            grounder.update(key, voxel_map.chunk(key))
        if i == len(frames) - MEASURED_KEYFRAMES - 1:
            grounder.encode()
        elif i >= len(frames) - MEASURED_KEYFRAMES:
            chunks.append(grounder.num_dirty)
            encode_ms.append(milliseconds(grounder.encode))
    size = f'{voxel_map.num_voxels} voxels in {len(voxel_map.chunk_keys())} chunks'
    note = f'{size}; {statistics.mean(chunks):.1f} chunks a keyframe'
    report_median(f'{name}: encode a keyframe', encode_ms, note)
    grounder.ground('a warm-up')
    report_median(
        f'{name}: query to answer',
        [milliseconds(lambda query=query: grounder.ground(query)) for query in queries],
        size,
    )


def milliseconds(work) -> float:
    """Wall time of a call."""
    begin = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begin)


def report_median(measure_name: str, values: list[float], note: str) -> None:
    """Report the median with minimum and maximum."""
    report(measure_name, statistics.median(values), 'ms', (min(values), max(values)), note)


if __name__ == '__main__':
    main()
