"""Which query is answered when: what grounding_node's worker does between two messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lift_gs_ros.geometry import FloatArray
from lift_gs_ros.grounding.breaks import Breaks
from lift_gs_ros.grounding.instances import Grounding, MapSummary
from lift_gs_ros.grounding.settings import CAMERA_STEP
from lift_gs_ros.nodes.conversions import ChunkUpdate
from lift_gs_ros.nodes.jobs import Jobs
from lift_gs_ros.nodes.map_intake import Grounds, MapIntake
from lift_gs_ros.nodes.memory import return_freed_memory
from lift_gs_ros.nodes.reporting import ERROR, Report
from lift_gs_ros.nodes.standing import StandingQueries
from lift_gs_ros.nodes.worker import BoundedQueue

TIDY_EVERY = 50  # encodings; each leaves holes of another size in the memory
AT_ONCE = 4  # queries: on a large map each may take seconds of a CPU, and they end together


@dataclass
class Question:
    """A query on its way; ``reply`` is where a service waits, None for the topic."""

    text: str
    reply: Future | None = None
    arrived: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class News:
    """What there is to publish."""

    answers: list[Grounding]  # new ones
    standing: StandingQueries  # all that stand, with their newest answers


class Answering:
    """Queries first, then one encoding at a time, then what ``jobs`` are asked for.

    A query that comes during an encoding is answered in the midst of it, from the encodings of
    before. Once in each: were there always a query, none would end.

    ``put_chunk``, ``put_camera`` and ``ask`` may be called from any thread, ``step`` only from one
    worker, which alone touches the grounder. ``values`` are the parameters of grounding_node.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        load: Callable[[], Grounds],
        publish: Callable[[News], None],
        report: Report,
    ) -> None:
        self._values, self._load, self._publish, self._report = values, load, publish, report
        self._questions: BoundedQueue[Question] = BoundedQueue(values['query_queue_size'])
        self._intake = MapIntake(
            values['map_frame'], report, lambda: values['answer_rate'], values['max_voxels']
        )
        # Where the camera is (3,), and in which frame.
        self._camera: tuple[FloatArray, str] | None = None
        self._camera_refused: tuple[FloatArray, str] | None = None
        self._grounder: Grounds | None = None
        self._standing = StandingQueries()
        self.jobs = Jobs()
        self._to_encode = self._encoded = self._stale = self._answered_between = False
        self._due = 0.0
        self._untidy = 0  # encodings since memory was last given back
        self._again: list[str] = []  # standing queries whose turn to be answered again is to come

    @property
    def summary(self) -> MapSummary:
        """The map as far as its chunks have been taken in."""
        return self._intake.summary

    @property
    def encoding(self) -> bool:
        """Whether chunks wait to be encoded: answers do not know them yet."""
        return self._to_encode or self._intake.waiting

    @property
    def num_standing(self) -> int:
        """Queries that are answered again when the map changes."""
        return len(self._standing)

    def put_chunk(self, update: ChunkUpdate) -> bool:
        """Take in the newest state of a chunk; False where the map would become too large."""
        return self._intake.put(update)

    def put_camera(self, place: FloatArray, frame_id: str) -> None:
        """Note where the camera is: (3,), metres."""
        self._camera = place, frame_id

    def ask(self, question: Question) -> None:
        """Take in a query; when too many wait, the oldest is refused."""
        dropped = self._questions.put(question)
        if dropped is not None:
            self._report.problem(
                'dropped_queries', f'more than {len(self._questions)} were waiting'
            )
            self._turn_away(dropped, 'too many queries are waiting')

    def close(self, reason: str) -> None:
        """Turn away all that still waits; the worker has ended."""
        for question in self._questions.take_all():
            self._turn_away(question, reason)
        self.jobs.close(reason)

    def _turn_away(self, question: Question, reason: str) -> None:
        if question.reply is not None:
            question.reply.set_result(self._refuse(self._shortened(question.text), reason))

    def step(self) -> None:
        """Do the most urgent thing; returns after a tenth of a second where there is none."""
        if self._grounder is None:
            self._grounder = self._load()
        busy = self._to_encode or self._intake.due or self._again
        question = self._questions.get(timeout=0.0 if busy else 0.1)
        # Before the answers: taking chunks in is quick, and nobody is told of "no map" when one is
        # waiting here, as after loading the model. Encoding them is slow and comes after.
        try:
            self._take_chunks()
            self._take_camera()
            self._set_thresholds()
        except Exception as error:
            if question is not None:
                self._turn_away(question, f'failed: {type(error).__name__}: {error}')
            raise
        if question is not None:
            if question.reply is None and not self._encoded:
                self._encode_one()  # a first answer soon; the other chunks follow
            self._answer_all([question, *self._questions.take_all()])
        self._encode_one()
        if self._stale and not self._again and time.monotonic() >= self._due:
            self._stale, self._again = False, self._standing.texts
            self._due = time.monotonic() + 1 / self._values['answer_rate']
        self._answer_again()
        self.jobs.run()

    def _encode_one(self) -> None:
        assert self._grounder is not None
        if self._to_encode:
            breaks, self._answered_between = Breaks(self._answer_between), False
            try:
                self._to_encode = self._grounder.encode(budget=1, between=breaks)
            except Exception as error:  # the next chunk may fit, and this one when it changes
                text = f'{type(error).__name__}: {error}'
                self._report.problem('failed_encodes', text, ERROR)
                return
            self._report.time('encode', breaks.worked)
            self._encoded = True
            self._stale = True  # whatever was answered before knew less
            self._untidy += 1
            if self._untidy >= TIDY_EVERY:
                self._untidy = 0
                return_freed_memory()

    def _answer_between(self) -> None:
        if not self._encoded or self._answered_between:
            return
        if questions := self._questions.take_all():
            self._answered_between = True
            try:
                self._answer_all(questions)
            except Exception as error:  # the chunk is as good as before
                self._report.problem('errors', f'{type(error).__name__}: {error}', ERROR)

    def _take_chunks(self) -> None:
        assert self._grounder is not None
        changed, another_map = self._intake.take_in(self._grounder)
        self._to_encode |= changed
        self._stale |= changed or another_map
        self._encoded &= not another_map

    def _take_camera(self) -> None:
        """Hand on where the camera is, where it has moved: a place in the frame of the map."""
        assert self._grounder is not None
        if self._camera is None or not self.summary.chunks:
            return
        place, frame_id = camera = self._camera
        before = self._grounder.camera
        if frame_id != self._intake.frame_id:
            if camera is not self._camera_refused:
                self._report.problem(
                    'cameras_in_other_frames',
                    f"keyframe_pose is in frame '{frame_id}', the map in "
                    f"'{self._intake.frame_id}': what a query says of the camera can not be read",
                )
            self._camera_refused, self._grounder.camera = camera, None
            self._stale |= before is not None
        elif before is None or np.linalg.norm(place - before) >= CAMERA_STEP:
            self._grounder.camera, self._stale = place, True

    def forget_map(self) -> None:
        """Start again without a map. Not while the worker runs."""
        self._intake.drop_waiting()  # such a chunk may be gone before the map is sent again
        if self._grounder is not None:
            self._intake.forget(self._grounder)
            self._grounder.camera = self._camera = None
        self._encoded, self._stale = False, True

    def _set_thresholds(self) -> None:
        assert self._grounder is not None
        thresholds = {key: self._values[key] for key in ('score_threshold', 'mask_threshold')}
        settings = replace(self._grounder.settings, **thresholds)
        if settings != self._grounder.settings:
            self._grounder.settings, self._stale = settings, True

    def _answer_all(self, questions: Sequence[Question]) -> None:
        for first in range(0, len(questions), AT_ONCE):
            self._answer(questions[first : first + AT_ONCE])

    def _answer(self, questions: Sequence[Question]) -> None:
        """Answer to the services that asked, and on the topics; all at once."""
        refusals = {q.text: self._refusal(q.text) for q in questions}
        texts = [text for text, reason in refusals.items() if reason is None]
        answers = dict(zip(texts, self._ground(texts)))
        for text, reason in refusals.items():
            if reason is not None:
                answers[text] = self._refuse(self._shortened(text), reason)
        news = []
        for question in questions:
            reason = refusals[question.text]
            if reason is not None and question.text.strip():  # an empty one clears: no loss
                self._report.problem('refused_queries', reason)
            answer = self._timed(answers[question.text], question.arrived)
            self._report.done(_in_words(answer))
            if question.reply is not None:
                question.reply.set_result(answer)
            else:
                news += [*self._take_in(answer, reason is None), answer]
        if news:
            self._publish(News(news, self._standing))

    def _take_in(self, answer: Grounding, stands: bool) -> list[Grounding]:
        """Let a query of the topic stand, or not; returns what is to be said to others for it."""
        latest = self._values['query_mode'] == 'latest'
        if latest or not answer.query.strip():
            self._standing.cancel('')
        if not stands:
            return []
        most = 1 if latest else self._values['max_standing_queries']
        reason = f'no longer standing: there are {most} newer queries (max_standing_queries)'
        left = self._standing.add(answer, most)
        for gone in left:
            self._report.problem('dropped_standing_queries', f"'{gone.query}' is {reason}")
        return [self._refuse(gone.query, reason) for gone in left]

    def _answer_again(self) -> None:
        """Answer some of those whose turn it is: what is asked meanwhile must not wait for all."""
        assert self._grounder is not None
        turn, self._again = self._again[:AT_ONCE], self._again[AT_ONCE:]
        before = [answer for answer in self._standing.answers if answer.query in turn]
        begin = time.monotonic()
        if self.summary.chunks:
            answers = self._try(lambda grounder: grounder.ground_again(before), before)
        else:
            answers = self._ground([answer.query for answer in before])
        known = {id(answer) for answer in before}
        answers = [a if id(a) in known else self._timed(a, begin) for a in answers]
        if news := self._standing.update(answers):
            self._publish(News(news, self._standing))

    def cancel(self, text: str) -> tuple[bool, list[str]]:
        """End a standing query, or all; returns whether there was one, and what still stands.

        Only the worker may call this (``jobs``).
        """
        found = self._standing.cancel(text)
        if found:
            self._publish(News([], self._standing))
        return found, self._standing.texts

    def _refusal(self, text: str) -> str | None:
        limit = self._values['max_query_length']
        if not text.strip():
            return 'empty query'
        if len(text) > limit:
            return f'query of {len(text)} characters, expected at most {limit}'
        return None

    def _ground(self, texts: Sequence[str]) -> list[Grounding]:
        if not self.summary.chunks:
            return [self._refuse(text, 'no map yet') for text in texts]
        return self._try(lambda grounder: grounder.ground_many(texts), texts)

    def _try(
        self, ground: Callable[[Grounds], list[Grounding]], asked: Sequence[str | Grounding]
    ) -> list[Grounding]:
        """Call the grounder; a query must not stop the node, whatever it holds, nor others."""
        assert self._grounder is not None
        try:
            return ground(self._grounder) if asked else []
        except Exception as error:
            texts = [one.query if isinstance(one, Grounding) else one for one in asked]
            if len(texts) > 1:
                return [self._ground([text])[0] for text in texts]
            self._report.problem('failed_queries', f'{type(error).__name__}: {error}')
            return [self._refuse(texts[0], f'failed: {type(error).__name__}: {error}')]

    def _timed(self, answer: Grounding, begin: float) -> Grounding:
        """Note how long an answer took, all together."""
        seconds = time.monotonic() - begin
        if answer.basis is not None or not answer.message:  # no refusal
            self._report.count('answers')
            self._report.time('answer', seconds)
            self._report.time('decode', answer.latency.decode_ms / 1e3)
        return replace(answer, latency=replace(answer.latency, total_ms=1e3 * seconds))

    def _shortened(self, text: str) -> str:
        return text[: self._values['max_query_length']]  # it may be of megabytes

    def _refuse(self, text: str, reason: str) -> Grounding:
        return Grounding(
            query=text,
            stamp=self._intake.stamp,
            frame_id=self._intake.frame_id,
            message=reason,
            map=self.summary,
        )


def _in_words(answer: Grounding) -> str:
    """Say in a line what was asked and answered; whatever the query holds, it is one line."""
    said = repr(answer.query[:80])
    scores = [instance.score for instance in answer.targets]
    if scores or not answer.message:
        found = f'{len(scores)} found, score {max(scores):.2f}' if scores else 'not here'
        said += f': {found}, none_score {answer.none_score:.2f}, {answer.latency.total_ms:.0f} ms'
    return ': '.join([said, *answer.message.splitlines()[:1]])
