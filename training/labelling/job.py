"""A labelling job from beginning to end, or from where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from lift_gs_ros.sequences import BagTopics
from lift_gs_ros.sequences.topic_flags import said_topics
from training.data.shards import ShardInfo, is_whole, read_info
from training.data.storage import Storage
from training.labelling.frames_read import FramesRead
from training.labelling.plan import Plan, Progress
from training.labelling.settings import JobSettings
from training.labelling.steps import Item, Labeller, Preparer
from training.labelling.workers import MakeWork

Run = Callable[[MakeWork, Sequence[Item]], Iterator[Item]]
NO_TOPICS = BagTopics()  # named: they are found by type
HOPELESS = 20  # frames that fail before the first succeeds: the teacher is to blame, not they
logger = logging.getLogger(__name__)


@dataclass
class Report:
    """What a job did."""

    shards: list[ShardInfo] = field(default_factory=list)  # all of them, older ones too
    labelled: int = 0  # views, this time
    bad_views: dict[str, str] = field(default_factory=dict)  # this time, and why
    bad_scenes: dict[str, str] = field(default_factory=dict)

    @property
    def views(self) -> int:
        """Views in all shards."""
        return sum(len(info.views) for info in self.shards)


def run_job(
    url: str,
    scenes: dict[str, str],
    settings: JobSettings,
    run: Run,
    topics: BagTopics = NO_TOPICS,
) -> Report:
    """Label scenes (name -> source) into a folder or an object store; resumes what was stopped.

    ``topics`` are those of bags, where they have to be named.
    Raises RuntimeError where every frame fails, and OSError where there is no space left.
    """
    storage, report = Storage(url), Report()
    with storage.lock(), logging_redirect_tqdm():
        settings.check_in(storage)
        _prepare(storage, _unprepared(storage, scenes, topics), settings, run, topics, report)
        _label(storage, scenes, settings, run, report)
        for scene in scenes:
            report.shards += finished_shards(storage, scene)
    return report


def finished_shards(storage: Storage, scene: str) -> list[ShardInfo]:
    """List the shards of a scene that are whole."""
    plan = Plan.read(storage, scene)
    names = [plan.shard_name(number) for number in range(len(plan.shards))] if plan else []
    return [read_info(storage, name) for name in names if is_whole(storage, name)]


def _unprepared(storage: Storage, scenes: dict[str, str], topics: BagTopics) -> list[Item]:
    """List the scenes that have to be read, each with the views that are still wanted of it.

    Raises ValueError where one was made from something else.
    """
    items = []
    for scene, source in scenes.items():
        plan = Plan.read(storage, scene)
        if plan is not None and not plan.made_from(source, topics):
            theirs = f'{plan.source} {said_topics(BagTopics(**plan.topics))}'.rstrip()
            raise ValueError(
                f'{scene} in {storage.url} was made from {theirs}, not from '
                f'{f"{source} {said_topics(topics)}".rstrip()}: name this one otherwise, as in '
                f'other_name={source}'
            )
        wanted = Progress(storage, plan).unprepared if plan else []
        if plan is None or wanted:
            items.append({'scene': scene, 'source': source, 'views': ' '.join(wanted)})
    return items


def _prepare(
    storage: Storage,
    items: list[Item],
    settings: JobSettings,
    run: Run,
    topics: BagTopics,
    report: Report,
) -> None:
    if not items:
        return
    results = run(partial(Preparer, storage.url, settings, topics), items)
    with FramesRead(storage, [item['scene'] for item in items]) as bar:
        for result in results:
            bar.done(result['scene'])
            if result['error']:
                report.bad_scenes[result['scene']] = result['error']
                logger.error('%s is left out: %s', result['scene'], result['error'])


def _label(
    storage: Storage, scenes: dict[str, str], settings: JobSettings, run: Run, report: Report
) -> None:
    plans = {scene: Plan.read(storage, scene) for scene in scenes}
    progress = {s: Progress(storage, plan) for s, plan in plans.items() if plan is not None}
    for scene in progress.values():
        scene.pack()  # what was labelled when the job was killed
    items = [{'scene': s, 'view': view} for s, p in progress.items() for view in p.missing]
    total = sum(scene.views for scene in progress.values())
    with tqdm(total=total, initial=total - len(items), desc='label', unit='frame') as bar:
        if not items:
            return
        for result in run(partial(Labeller, storage.url, settings), items):
            name, error = f'{result["scene"]}/{result["view"]}', result['error']
            if error:
                report.bad_views[name] = error
                logger.error('frame %s is skipped: %s', name, error)
            else:
                report.labelled += 1
            if not report.labelled and len(report.bad_views) >= min(HOPELESS, total):
                raise RuntimeError(f'every frame failed, the last one with {error}')
            scene = progress[result['scene']]
            scene.note(result['view'], error)
            scene.pack()
            bar.update()
