"""What the page says, in HTML: what messages bring is escaped, for anybody may write on /query."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.viewer.answer_scene import confidence_color

MAX_ROWS = 6  # instances listed; the scene shows them all
_BOX = '<div style="margin:0 0.75em 0.6em; font-size:0.875em; line-height:1.45">{}</div>'
_DIM = '<span style="color:#868e96">{}</span>'


def shorten(text: str, length: int) -> str:
    """Cut a text that is too long for its place."""
    return text if len(text) <= length else text[: length - 1] + '…'


def verdict(answer: Grounding) -> str:
    """Say in a few words what an answer says; plain text."""
    if answer.message and not answer.targets:
        return answer.message
    if not answer.targets:
        return f'not here, {answer.none_score:.0%}'
    best = answer.targets[0].score
    others = len(answer.targets) - 1
    return f'{best:.0%}' + (f' +{others}' if others else '')


def answer_html(answer: Grounding) -> str:
    """Describe an answer: what was asked, what was found and how sure that is."""
    title = f'“{escape(shorten(answer.query, 200))}”'
    if not answer.targets:
        text = verdict(answer) + ('' if answer.message else ' sure')
        body = f'<b style="font-size:1.15em">{escape(text[:1].upper() + text[1:])}</b>'
    else:
        rows = [
            _instance_html(instance.phrase, instance.score, instance.is_target)
            for instance in answer.instances[:MAX_ROWS]
        ]
        left = len(answer.instances) - MAX_ROWS
        rows += [_DIM.format(f'and {left} more')] if left > 0 else []
        rows.append(_DIM.format(f'not here: {answer.none_score:.0%}'))
        rows += [_DIM.format(escape(answer.message))] if answer.message else []
        body = '<br>'.join(rows)
    return _BOX.format(f'{_DIM.format(title)}<br>{body}')


def _instance_html(phrase: str, score: float, is_target: bool) -> str:
    red, green, blue = confidence_color(score)
    chip = (
        '<span style="display:inline-block; width:0.75em; height:0.75em; border-radius:0.2em; '
        f'margin-right:0.5em; background:rgb({red},{green},{blue})"></span>'
    )
    name = escape(shorten(phrase, 40))
    return f'{chip}<b>{name}</b> {score:.0%}' if is_target else f'{chip}{name} {score:.0%}'


def note_html(text: str) -> str:
    """Say something about what is going on."""
    return _BOX.format(_DIM.format(escape(text)))


def status_html(parts: Sequence[str]) -> str:
    """One line of facts at the bottom."""
    return (
        '<div style="margin:0 0.75em 0.75em; font-size:0.75em; color:#868e96">'
        + ' · '.join(escape(part).replace(' ', '&nbsp;') for part in parts if part)
        + '</div>'
    )
