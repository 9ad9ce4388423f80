"""Command line: ``lift-gs ground`` answers on a recording without ROS, ``lift-gs demo`` with it."""

from __future__ import annotations

import argparse
import contextlib
import logging
import queue
import sys
import time
from pathlib import Path

from lift_gs_ros import output
from lift_gs_ros.geometry import FloatArray
from lift_gs_ros.grounding.grounder import Grounder, GrounderSettings
from lift_gs_ros.grounding.instances import Grounding, MapSummary
from lift_gs_ros.mapping.cloud_map import voxel_map_of
from lift_gs_ros.mapping.keyframes import KeyframeSelector
from lift_gs_ros.mapping.ply import read_ply
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.sequences import Sequence, open_sequence
from lift_gs_ros.sequences.topic_flags import add_topic_flags, bag_topics


def fuse(sequence: Sequence, voxel_map: VoxelMap) -> FloatArray | None:
    """Fuse the keyframes of a sequence into a map; returns where the last one was taken (3,)."""
    keyframes, camera = KeyframeSelector(), None
    for frame in sequence:
        if keyframes.is_keyframe(frame.stamp, frame.world_from_camera):
            voxel_map.integrate(frame)
            camera = frame.world_from_camera[:3, 3]
    return camera


def fill(grounder: Grounder, voxel_map: VoxelMap, camera: FloatArray | None = None) -> None:
    """Hand a whole map to a grounder and encode it."""
    for key in voxel_map.chunk_keys():
        grounder.update(key, voxel_map.chunk(key))
    summary = MapSummary(
        voxel_map.version,
        voxel_map.num_voxels,
        len(voxel_map.chunk_keys()),
        voxel_map.keyframes,
    )
    grounder.set_map(summary, voxel_map.last_stamp or 0)
    grounder.camera = camera
    grounder.encode()


def read_map(arguments: argparse.Namespace) -> tuple[VoxelMap, FloatArray | None]:
    """Make a map of a recording, or of a cloud in a PLY file; and say where the camera is."""
    if Path(arguments.sequence).suffix.lower() == '.ply':
        return voxel_map_of(read_ply(arguments.sequence)), None
    voxel_map = VoxelMap()
    camera = fuse(open_sequence(arguments.sequence, bag_topics(arguments)), voxel_map)
    if not voxel_map.keyframes:
        raise ValueError(
            f'{arguments.sequence}: no frame could be fused; what is wrong with each is logged '
            f'above, or its depth is not within {voxel_map.min_depth} to {voxel_map.max_depth} m'
        )
    return voxel_map, camera


def ground(arguments: argparse.Namespace) -> int:
    """Answer queries on a recording or a cloud, write answers.json and a picture each."""
    begin = time.perf_counter()
    voxel_map, camera = read_map(arguments)
    print(
        f'{voxel_map.keyframes} keyframes, {voxel_map.num_voxels} voxels, '
        f'{len(voxel_map.chunk_keys())} chunks in {time.perf_counter() - begin:.1f} s'
    )
    settings = GrounderSettings(chunk_size=voxel_map.chunk_size)
    grounder = Grounder.load(arguments.checkpoint, arguments.device, settings)
    fill(grounder, voxel_map, camera)
    answers = [grounder.ground(query) for query in arguments.query]
    cloud = voxel_map.to_point_cloud()
    output.write_on_map(arguments.out, answers, grounder.weights, cloud, voxel_map.voxel_size)
    if arguments.viewer:
        serve(grounder, voxel_map, answers, arguments.port)
    return 0


def serve(grounder: Grounder, voxel_map: VoxelMap, answers: list[Grounding], port: int) -> None:
    """Show a map and answers in the web viewer, and answer what is typed there, until Ctrl-C."""
    from lift_gs_ros.viewer.viewer import Viewer

    questions: queue.Queue[str] = queue.Queue()
    viewer = Viewer(questions.put, port=port)
    for key in voxel_map.chunk_keys():
        chunk_size, voxel_size = voxel_map.chunk_size, voxel_map.voxel_size
        viewer.update_chunk(key, voxel_map.chunk(key), chunk_size, voxel_size)
    viewer.set_facts(
        keyframes=f'{voxel_map.keyframes} keyframes', weights=f'weights {grounder.weights}'
    )
    for answer in answers:
        viewer.show(answer)
    with contextlib.suppress(KeyboardInterrupt):
        print(f'\nask on at {viewer.url}; Ctrl-C ends', flush=True)
        while True:
            viewer.show(grounder.ground(questions.get()))
    viewer.close()


def demo(arguments: argparse.Namespace) -> int:
    """Run the whole ROS graph on one machine."""
    try:
        from lift_gs_ros.cloud_demo import run_cloud_demo
        from lift_gs_ros.demo import run_demo
    except ImportError as error:
        raise ImportError(
            f'{error}; the demo needs ROS 2 and this package built for it: `make demo` brings both'
        ) from error
    queries = [query.strip() for query in arguments.query.split(';') if query.strip()]
    viewer_port = arguments.port if arguments.viewer else None
    if arguments.cloud:
        return run_cloud_demo(
            arguments.cloud,
            queries,
            arguments.out,
            arguments.checkpoint,
            arguments.device,
            viewer_port,
        )
    return run_demo(
        arguments.sequence,
        queries,
        arguments.out,
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        seed=arguments.seed,
        rate=arguments.rate,
        topics=bag_topics(arguments),
        viewer_port=viewer_port,
    )


def check(arguments: argparse.Namespace) -> int:
    """Say whether units, poses, intrinsics and registration of a recording make sense."""
    from lift_gs_ros.sequences.check import check_sequence

    report = check_sequence(open_sequence(arguments.sequence, bag_topics(arguments)))
    print(report)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / 'check.png'
    report.picture().save(path)
    print(f'\nlook at {path}')
    return 0 if report.good else 1


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog='lift-gs', description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='command')

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--out', type=Path, default=Path('demo_out'), help='folder for results')
    common.add_argument('--checkpoint', default='', help="safetensors file ('' = the shipped one)")
    common.add_argument('--device', default='auto', help='cpu, cuda or auto')
    common.add_argument('--viewer', action='store_true', help='serve a web page until Ctrl-C')
    common.add_argument('--port', type=int, default=8080, help='of the web page')

    topics = argparse.ArgumentParser(add_help=False)
    add_topic_flags(topics)

    sub = commands.add_parser('ground', parents=[common, topics], help=ground.__doc__)
    sub.add_argument(
        'sequence', help='a bag, the folder of a recording (docs/datasets.md), or a .ply file'
    )
    sub.add_argument('query', nargs='+', help='"the red mug next to the sink"')
    sub.set_defaults(run=ground)

    sub = commands.add_parser('demo', parents=[common, topics], help=demo.__doc__)
    source = sub.add_mutually_exclusive_group()
    source.add_argument('--sequence', default='', help="bag or folder ('' = a simulated room)")
    source.add_argument('--cloud', default='', help='a map in a .ply file, in place of a camera')
    sub.add_argument('--query', default='', help='queries, separated by semicolons')
    sub.add_argument('--seed', type=int, default=0, help='which simulated room')
    sub.add_argument('--rate', type=float, default=5.0, help="frames a second; 0: the sequence's")
    sub.set_defaults(run=demo)

    sequences = commands.add_parser('sequences', help='recordings of a camera')
    actions = sequences.add_subparsers(required=True, metavar='action')
    sub = actions.add_parser('check', parents=[topics], help=check.__doc__)
    sub.add_argument('sequence', help='a bag, or the folder of a recording')
    sub.add_argument('--out', type=Path, default=Path('check_out'), help='folder for the picture')
    sub.set_defaults(run=check)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``lift-gs``."""
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s: %(message)s')
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f'lift-gs: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
