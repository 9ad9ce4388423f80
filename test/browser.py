"""A real headless Chromium on the viewer's page. As a program it takes the README's picture:

make demo VIEWER=1                         # in one terminal, and once it has answered in another:
python test/browser.py http://127.0.0.1:8080 'blue door' docs/images/viewer.png
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

NAMES = 'chromium', 'chromium-browser', 'google-chrome'
# The last two: WebGL without a graphics card.
FLAGS = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader']
PATIENCE = 120_000  # milliseconds: everything is drawn by the CPU
NODES = '(window.__viserSceneTree ? Object.keys(window.__viserSceneTree.getState()) : [])'


def find_chromium() -> str | None:
    """Path of an installed browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)


class ViewerPage:
    """The viewer's page in a tab of its own, as a person sees it."""

    def __init__(self, browser: Browser, url: str, size: tuple[int, int] = (800, 500)) -> None:
        self.page = browser.new_page(viewport={'width': size[0], 'height': size[1]})
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.page.on('pageerror', lambda error: self.errors.append(str(error)))
        self.page.goto(f'{url}/?fixedDpr=1')  # or viser lowers the resolution when it is slow
        self.query = self.page.get_by_role('textbox').first
        self.query.wait_for()

    def nodes(self) -> set[str]:
        """Names of the nodes of the scene in the browser."""
        return set(self.page.evaluate(NODES))

    def wait_for_node(self, name: str, there: bool = True) -> None:
        """Wait until a node is (not) in the scene."""
        self.page.wait_for_function(f'{NODES}.includes({name!r}) === {str(there).lower()}')

    def props(self, name: str, expression: str):
        """Evaluate an expression of a node's message m."""
        return self.page.evaluate(
            f'(m => {expression})(window.__viserSceneTree.getState()[{name!r}].message)'
        )

    def ask(self, text: str) -> None:
        """Type a query and press Enter."""
        self.query.fill(text)
        self.query.press('Enter')

    def wait_for_text(self, text: str) -> None:
        """Wait until the page says something."""
        self.page.get_by_text(text).first.wait_for()

    def click(self, button: str, number: int = 0) -> None:
        """Click a button by (a part of) its text."""
        self.page.get_by_role('button', name=button).nth(number).click()

    def pixels(self) -> np.ndarray:
        """What is on the screen, (H, W, 3) uint8."""
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert('RGB'))


def take_picture(url: str, query: str, path: str) -> None:
    """Ask on a running viewer and save what is seen."""
    with chromium() as browser:
        tab = ViewerPage(browser, url, (1280, 720))
        tab.click('clear')
        tab.wait_for_node('/answer', there=False)
        tab.ask(query)
        tab.wait_for_node('/answer/0/label')
        tab.page.add_style_tag(content='[class*=Notification-root] {display: none}')
        tab.page.wait_for_timeout(15_000)  # the scene fades in
        tab.page.screenshot(path=path)


if __name__ == '__main__':
    take_picture(*sys.argv[1:])
