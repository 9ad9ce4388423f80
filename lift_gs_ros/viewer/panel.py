"""The panel of the page: a box for the query, the answer, the history, and how the map is drawn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import viser

from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.viewer import texts

MAX_QUERY_LENGTH = 2000  # characters, as grounding_node's parameter
MAX_HISTORY = 8
ROW_LENGTH = 32  # characters that fit
CUT_STEP = 0.1  # metres; the default height of the cut follows the map in steps
LOOK_AT, CLEAR = 'look at', 'clear'


@dataclass
class Answered:
    """An answer of the history."""

    grounding: Grounding
    at: str = field(default_factory=lambda: time.strftime('%H:%M:%S'))


@dataclass(frozen=True)
class Actions:
    """What the panel's controls do; called from viser's threads."""

    ask: Callable[[str], None]
    clear: Callable[[], None]
    select: Callable[[Grounding, bool], None]  # and whether it is older than the newest
    look_at_answer: Callable[[viser.ClientHandle | None], None]
    look_at_map: Callable[[viser.ClientHandle | None], None]
    cut: Callable[[float], None]
    resize: Callable[[float], None]


class Panel:
    """Builds the controls and fills in what changes. Not thread-safe."""

    def __init__(self, gui: viser.GuiApi, actions: Actions) -> None:
        self._gui, self._actions = gui, actions
        self._history: list[Answered] = []
        gui.configure_theme(show_logo=False, show_share_button=False)
        gui.set_panel_label('lift_gs_ros')
        gui.main_panel.dock_right()
        gui.main_panel.set_width(360)
        self._add_query()
        self._answer = gui.add_html(texts.note_html('Ask for something.'))
        self._add_scene_buttons()
        with gui.add_folder('History'):
            self._rows = [self._add_row(number) for number in range(MAX_HISTORY)]
        self._add_view()
        self._status = gui.add_html('')

    def _add_query(self) -> None:
        gui = self._gui
        with gui.add_form(None) as form:
            self._query = gui.add_text(
                'Query', '', hint='For example: the red mug next to the sink'
            )
            find = gui.add_button('Find', icon=viser.Icon.SEARCH)
        find.on_click(lambda _: form.submit())
        form.on_submit(lambda _: self._actions.ask(self._query.value))

    def _add_scene_buttons(self) -> None:
        answer = self._gui.add_button_group('Answer', (LOOK_AT, CLEAR))
        whole = self._gui.add_button_group('Map', (LOOK_AT,))
        whole.on_click(lambda event: self._actions.look_at_map(event.client))

        @answer.on_click
        def _(event: viser.GuiEvent) -> None:
            if event.target.value == CLEAR:
                self._actions.clear()
            else:
                self._actions.look_at_answer(event.client)

    def _add_row(self, number: int) -> viser.GuiButtonGroupHandle:
        row = self._gui.add_button_group('', ('-',), visible=False)
        row.on_click(lambda _: self._select(number))
        return row

    def _select(self, number: int) -> None:
        if number < len(self._history):
            self._actions.select(self._history[number].grounding, number > 0)

    def _add_view(self) -> None:
        actions, gui = self._actions, self._gui
        with gui.add_folder('View'):
            self._cut = gui.add_slider('Hide above (m)', 0.0, 1.0, 0.05, 1.0)
            size = gui.add_slider('Point size', 0.2, 2.0, 0.1, 1.0, hint='1: that of a voxel')
        self._cut_is_default, self._default_cut = True, math.inf
        self._cut.on_update(lambda event: self._on_cut(event))
        size.on_update(lambda _: actions.resize(size.value))

    def _on_cut(self, event: viser.GuiEvent) -> None:
        if event.client is None:  # set by fit_cut
            return
        self._cut_is_default = False
        self._actions.cut(self._cut.value)

    def fit_cut(self, lowest: float, highest: float, default: float) -> None:
        """Let the slider reach over the whole map (metres); unless it was moved, set it."""
        self._cut.min, self._cut.max = round(float(lowest), 2), round(float(highest) + 0.05, 2)
        if not self._cut_is_default:
            return
        if abs(default - self._default_cut) > CUT_STEP:  # it sends most of the map again
            self._default_cut = default
            self._actions.cut(default)
        value = min(self._default_cut, self._cut.max)
        self._cut.value = value  # type: ignore[misc]  # mypy takes it for read-only

    def refusal(self, text: str) -> str:
        """Say why a query can not be asked; empty where it can."""
        if not text:
            return 'Type what to look for, for example: the red chair'
        if len(text) > MAX_QUERY_LENGTH:
            return f'{len(text):,} characters are too many: at most {MAX_QUERY_LENGTH:,}'
        return ''

    def note(self, text: str) -> None:
        """Say something in the answer's place."""
        self._answer.content = texts.note_html(text)

    def show(self, grounding: Grounding) -> None:
        """Describe an answer."""
        self._answer.content = texts.answer_html(grounding)

    def remember(self, grounding: Grounding) -> None:
        """Put an answer on top of the history, or in the place of one to the same query."""
        queries = [known.grounding.query for known in self._history]
        if grounding.query in queries:  # several may stand, and be answered again in turn
            self._history[queries.index(grounding.query)] = Answered(grounding)
        else:
            self._history.insert(0, Answered(grounding))
        del self._history[MAX_HISTORY:]
        self._show_history()

    def knows(self, query: str) -> bool:
        """Say whether the history has an answer to a query."""
        return any(known.grounding.query == query for known in self._history)

    def forget(self) -> None:
        """Empty the history, and let the next map be cut open where it should be."""
        self._history.clear()
        self._show_history()
        self._cut_is_default, self._default_cut = True, math.inf

    def _show_history(self) -> None:
        for row, answered in zip(self._rows, self._history):
            grounding = answered.grounding
            row.label = f'{answered.at} v{grounding.map.version}'
            verdict = texts.shorten(texts.verdict(grounding), 20)
            query = texts.shorten(grounding.query, ROW_LENGTH - len(verdict))
            row.options = (f'{query} · {verdict}',)
            row.hint = f'{grounding.query[:200]}: map version {grounding.map.version}'
            row.visible = True
        for row in self._rows[len(self._history) :]:
            row.visible = False

    def set_status(self, parts: list[str]) -> None:
        """Fill the line at the bottom."""
        self._status.content = texts.status_html(parts)
