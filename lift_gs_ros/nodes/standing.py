"""The queries that stay, and their newest answers."""

from __future__ import annotations

from collections.abc import Iterable

from lift_gs_ros.grounding.instances import GroundedInstance, Grounding


class StandingQueries:
    """Texts in the order in which they were asked, each with its newest answer.

    Where only the latest query counts, it is the only one that stands (``most`` is 1).
    """

    def __init__(self) -> None:
        self._answers: dict[str, Grounding] = {}

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def texts(self) -> list[str]:
        """All of them, oldest first."""
        return list(self._answers)

    @property
    def answers(self) -> list[Grounding]:
        """The newest answer of each."""
        return list(self._answers.values())

    def add(self, answer: Grounding, most: int) -> list[Grounding]:
        """Let a query stand; returns the answers of those that leave, so that ``most`` remain."""
        self._answers.pop(answer.query, None)
        self._answers[answer.query] = answer
        leaving = self.texts[: max(len(self) - most, 0)]
        return [self._answers.pop(text) for text in leaving]

    def update(self, answers: Iterable[Grounding]) -> list[Grounding]:
        """Take in newer answers; returns those that are other ones than before."""
        news = [new for new in answers if self._answers[new.query] is not new]
        self._answers.update((new.query, new) for new in news)
        return news

    def cancel(self, text: str) -> bool:
        """End one, or all where the text is empty; False where there is nothing to end."""
        if text:
            return self._answers.pop(text, None) is not None
        found = bool(self._answers)
        self._answers.clear()
        return found


def shown_instances(answers: Iterable[Grounding]) -> list[list[GroundedInstance]]:
    """Gather what all answers say of each object, the best score first.

    Targets come before what is only mentioned, and objects in the order of the answers.
    """
    by_id: dict[int, list[GroundedInstance]] = {}
    for answer in answers:
        for instance in answer.instances:
            by_id.setdefault(instance.instance_id, []).append(instance)
    for same in by_id.values():
        same.sort(key=lambda instance: (not instance.is_target, -instance.score))
    return list(by_id.values())
