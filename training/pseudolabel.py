r"""Pseudo labels of any posed RGB-D sequence, by 2D teachers: what ``training.pretrain`` reads.

    python -m training.pseudolabel path/to/folder --out runs/labels \
        --masks sam2:weights/sam2.1-hiera-large --captions vlm:weights/SmolVLM2-2.2B-Instruct
    python -m training.pseudolabel simulated:train/0-299 --out runs/labels --masks simulated

Finished frames are never done twice: run the same command again after a stop or a kill. A bad
frame is logged and skipped. ``--dry-run`` says what it would cost. ``--out`` may be an object store
(``s3://bucket/labels``). docs/pseudo_labels.md describes teachers and files.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.sequences import BagTopics
from lift_gs_ros.sequences.topic_flags import add_topic_flags, bag_topics
from training.data.posed_image import PosedImage
from training.data.storage import Storage
from training.data.view_files import encode_view
from training.labelling.job import NO_TOPICS, Report, Run, finished_shards, run_job
from training.labelling.plan import DENSE_CHANNELS
from training.labelling.scenes import list_scenes, open_scene
from training.labelling.settings import JobSettings
from training.labelling.steps import explain, step_of
from training.labelling.workers import connect, in_processes, local_devices, on_ray
from training.teachers.load import (
    CAPTIONS,
    EMBEDDINGS,
    MASKS,
    TAGS,
    TeacherSpec,
    check_queries,
    check_teachers,
)

SAMPLED = 5  # scenes of which a dry run reads the first frame
SEMANTICS_PER_PIXEL = 0.03  # bytes, a guess: index images compress well
EMBEDDINGS_PER_FRAME = 40  # a guess
TAR_HEADERS = 1024  # bytes of a file in a tar, with what fills its last block
LEFT_OUT = 3  # exit status: there are labels, but not of all sequences. (1 is any bug's.)


def main(argv: list[str] | None = None) -> int:
    """Run the command line program."""
    options = _parser().parse_args(argv)
    logging.basicConfig(format='%(levelname)s: %(message)s')
    try:
        return _run(options)
    except (ValueError, OSError, ImportError, RuntimeError, MemoryError) as error:
        print(f'pseudolabel: {str(error) or type(error).__name__}', file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    spec = TeacherSpec(
        options.masks, options.captions, options.embeddings, options.vocabulary, options.tags
    )
    check_queries(spec, options.queries)
    settings = JobSettings(
        spec, options.every, options.width, options.shard_views, options.with_depth
    )
    scenes = list_scenes(options.sequences)
    # Absolute, for workers may be in another folder.
    out = options.out if '://' in options.out else str(Path(options.out).resolve())
    topics = bag_topics(options)
    if options.dry_run:
        print(estimate(out, scenes, settings, topics))
        return 0
    check_teachers(spec, scenes)  # before the folder is bound to weights that are not there
    report = run_job(out, scenes, settings, run_with(options.ray, options.workers), topics)
    print(summary(report))
    if not report.views:
        raise ValueError(f'there is no labelled frame in {out}; what is wrong is said above')
    return LEFT_OUT if report.bad_scenes else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'sequences', nargs='+', help='PATH, NAME=PATH, or simulated:SPLIT/FIRST[-LAST]'
    )
    parser.add_argument('--out', required=True, help='folder or fsspec URL')
    parser.add_argument('--masks', required=True, help=MASKS)
    parser.add_argument('--captions', default='', help=CAPTIONS)
    parser.add_argument('--embeddings', default='', help=EMBEDDINGS)
    parser.add_argument(
        '--vocabulary', default='', help='nouns for a detector or CLIP: a file, scannet20/200'
    )
    parser.add_argument('--tags', default='', help=f'what a detector looks for: {TAGS}')
    parser.add_argument(
        '--queries',
        default='captions',
        choices=('captions', 'embeddings'),
        help='what pretraining will ask by (sample.queries): teachers have to give it',
    )
    parser.add_argument('--every', type=int, default=10, help='label every so many-th of a video')
    parser.add_argument('--width', type=int, default=320, help='of the images that are kept')
    parser.add_argument('--shard-views', type=int, default=32, help='at most, in one shard')
    parser.add_argument('--with-depth', action='store_true', help='keep depth, for masks in 3D')
    parser.add_argument('--workers', type=int, default=0, help='0: one for each GPU, or one')
    parser.add_argument('--ray', default='', help='address of a Ray cluster, or "local"')
    parser.add_argument('--dry-run', action='store_true', help='say what it will cost')
    add_topic_flags(parser)
    return parser


def run_with(ray: str, workers: int) -> Run:
    """Choose processes of this machine, or ('local', or an address) a Ray cluster."""
    if not ray:
        return partial(in_processes, devices=local_devices(workers))
    count, gpus = connect(ray, workers)
    return partial(on_ray, workers=count, gpus=gpus)


def estimate(
    url: str, scenes: dict[str, str], settings: JobSettings, topics: BagTopics = NO_TOPICS
) -> str:
    """Say how many frames there are to label, and how much space they will take."""
    storage = Storage(url)
    frames = views = done = 0
    sizes: list[tuple[float, float]] = []
    bad = []
    for scene, source in scenes.items():
        try:
            sequence = open_scene(source, topics)
            first = next(iter(sequence), None) if len(sizes) < SAMPLED else None
        except Exception as error:  # as the job, which goes on with the others
            bad.append(f'\n{scene} will be left out: {explain(error)}')
            continue
        frames += len(sequence)
        views += math.ceil(len(sequence) / step_of(sequence, settings))
        finished = finished_shards(storage, scene)
        done += sum(len(info.views) + len(info.skipped) for info in finished)
        if first is not None:
            sizes.append(frame_sizes(scene, first, settings))
    size, at_work = np.mean(sizes, axis=0) if sizes else (0.0, 0.0)
    return (
        f'{len(scenes)} scenes, {frames} frames, of which {views} are to be labelled; {done} of '
        f'them are done\n{views * size / 1e9:.3g} GB in all, at about {size / 1e3:.0f} kB a frame, '
        f'and the map of each scene; up to {views * at_work / 1e9:.3g} GB more while the job runs'
        f'{"".join(bad)}'
    )


def frame_sizes(scene: str, frame: RgbdFrame, settings: JobSettings) -> tuple[float, float]:
    """Bytes of a frame in its shard, and of what the teachers are shown: all of it, with depth."""
    shown = PosedImage.of(frame, scene, '', [])
    view = shown.resized(settings.width)
    files, at_work = encode_view(view, settings.with_depth), encode_view(shown)
    labels = SEMANTICS_PER_PIXEL * view.depth.size
    if settings.teachers.embeddings:
        labels += EMBEDDINGS_PER_FRAME * 2 * DENSE_CHANNELS
    size = sum(map(len, files.values())) + labels + TAR_HEADERS * (len(files) + 2)
    return size, sum(map(len, at_work.values())) + TAR_HEADERS * len(at_work)


def summary(report: Report) -> str:
    """Say what there is now, and how much smaller it is than dense feature maps."""
    skipped = sum(len(info.skipped) for info in report.shards)
    lines = [
        f'{report.labelled} frames labelled now; in all {report.views} frames in '
        f'{len(report.shards)} shards, {skipped} skipped'
    ]
    lines += [f'{scene} is left out: {error}' for scene, error in report.bad_scenes.items()]
    if report.views:
        kinds: Counter[str] = Counter()
        for info in report.shards:
            kinds.update(info.bytes_of)
        total = sum(info.size for info in report.shards)
        dense = sum(info.dense_bytes for info in report.shards)
        parts = ', '.join(f'{kind} {size / report.views / 1e3:.1f}' for kind, size in kinds.items())
        labels = sum(kinds[k] for k in ('semantics.png', 'captions.json', 'index2semantics.npy'))
        lines += [
            f'{total / report.views / 1e3:.1f} kB a frame ({parts})',
            f'labels: {labels / report.views / 1e3:.1f} kB a frame; dense maps of '
            f'{DENSE_CHANNELS} half-precision channels: {dense / report.views / 1e6:.0f} MB',
        ]
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
