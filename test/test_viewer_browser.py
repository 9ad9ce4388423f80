"""The viewer in a real browser: what is typed there, and what is seen."""

import time

import numpy as np
import pytest

pytest.importorskip('playwright', reason='playwright is not installed')

from browser import ViewerPage, chromium, find_chromium  # noqa: E402

from lift_gs_ros.geometry import Box, PointCloud  # noqa: E402
from lift_gs_ros.grounding.instances import (  # noqa: E402
    GroundedInstance,
    Grounding,
    MapSummary,
)
from lift_gs_ros.viewer.panel import MAX_QUERY_LENGTH  # noqa: E402
from lift_gs_ros.viewer.viewer import Viewer  # noqa: E402

pytestmark = pytest.mark.skipif(
    not find_chromium(), reason='no browser: apt-get install chromium (on Debian)'
)
CHAIR = Box.from_corners((0.5, 0.5, 0.0), (1.0, 1.0, 0.9))


def floor() -> PointCloud:
    """A grey floor of 4 m x 4 m with a red block (CHAIR) on it, a point every 5 cm."""
    x, y = np.meshgrid(np.arange(-2, 2, 0.05), np.arange(-2, 2, 0.05))
    ground = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3)
    grid = [np.arange(low, high, 0.05) for low, high in zip(CHAIR.lower, CHAIR.upper)]
    block = np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, 3)
    colors = np.repeat([[0.5, 0.5, 0.5], [0.8, 0.1, 0.1]], [len(ground), len(block)], axis=0)
    return PointCloud(np.concatenate([ground, block]), colors)


def answer(query: str, cloud: PointCloud) -> Grounding:
    """Find CHAIR for what has a chair in it, and nothing else."""
    if 'chair' not in query:
        return Grounding(query, 1, 'map', none_score=0.87, map=MapSummary(version=5))
    points = cloud.positions[CHAIR.contains(cloud.positions)]
    scores = np.ones(len(points), np.float32)
    found = GroundedInstance(1, 'chair', (0, 5), True, 0.92, CHAIR, points, scores)
    return Grounding(query, 1, 'map', [found], 0.08, map=MapSummary(version=5))


@pytest.fixture(scope='module')
def browser():
    with chromium() as browser:
        yield browser


class Served:
    """A viewer that answers as ``answer`` does, and notes what it is asked."""

    def __init__(self):
        self.asked: list[str] = []
        self.viewer = Viewer(self._on_query, port=0)
        self.cloud = floor()
        self.fill()

    def _on_query(self, text: str) -> None:
        self.asked.append(text)
        self.viewer.show(answer(text, self.cloud))

    def fill(self) -> None:
        self.viewer.update_chunk((0, 0, 0), self.cloud, 6.45, 0.05)


@pytest.fixture(scope='module')
def viewer_and_tab(browser):
    served = Served()
    yield served, ViewerPage(browser, served.viewer.url)
    served.viewer.close()


@pytest.fixture
def served(viewer_and_tab):
    return viewer_and_tab[0]


@pytest.fixture
def tab(viewer_and_tab):
    """The page (opened once: that takes long) with a new map and nothing asked yet."""
    served, tab = viewer_and_tab
    served.viewer.clear_map()
    tab.wait_for_node('/map/0_0_0', there=False)
    served.fill()
    served.asked.clear()
    tab.wait_for_node('/map/0_0_0')
    yield tab
    assert not tab.errors


def green(pixels: np.ndarray) -> int:
    """Count pixels in the colours of a sure answer, left of the panel."""
    red, green, blue = np.moveaxis(pixels[:, :400].astype(int), -1, 0)
    return int(((green > red + 60) & (green > blue + 60)).sum())


def test_a_query_typed_in_the_page_comes_back_as_a_box_that_is_seen(served, tab, tmp_path):
    before = tab.pixels()
    assert green(before) == 0
    tab.ask('  the red\tchair ')
    for part in ('box', 'label', 'mask'):
        tab.wait_for_node(f'/answer/0/{part}')
    assert served.asked == ['the red chair']
    assert tab.props('/answer/0/label', 'm.props.text') == 'chair  92%'
    corners = np.array(tab.props('/answer/0/box', 'Array.from(m.props.points)')).reshape(-1, 3)
    np.testing.assert_allclose(corners.min(axis=0), CHAIR.lower, atol=1e-6)
    np.testing.assert_allclose(corners.max(axis=0), CHAIR.upper, atol=1e-6)
    tab.wait_for_text('not here: 8%')
    after = tab.pixels()
    assert green(after) > 200
    path = tmp_path / 'viewer.png'
    tab.page.screenshot(path=path)
    assert path.stat().st_size > 5000


def test_what_is_not_there_is_said_plainly_and_the_history_shows_what_was_before(served, tab):
    tab.ask('the chair')
    tab.wait_for_node('/answer/0/box')
    tab.ask('<img src=x> a yeti')
    tab.wait_for_text('Not here, 87% sure')
    tab.wait_for_node('/answer/0/box', there=False)
    assert tab.page.locator('img[src=x]').count() == 0, 'a query was taken for HTML'
    tab.click('the chair · 92%')
    tab.wait_for_node('/answer/0/box')
    # The standing query, answered again on a newer map, does not take the older answer away.
    served.viewer.show(answer('<img src=x> a yeti', served.cloud))
    tab.wait_for_text('v5')
    assert '/answer/0/box' in tab.nodes()
    tab.click('clear')
    tab.wait_for_node('/answer/0/box', there=False)
    assert served.asked[-1] == ''


def test_a_query_that_is_empty_or_too_long_is_not_passed_on(served, tab):
    tab.ask('   ')
    tab.wait_for_text('Type what to look for')
    tab.ask('x' * (MAX_QUERY_LENGTH + 1))
    tab.wait_for_text('2,001 characters are too many')
    assert served.asked == []


def test_a_changed_chunk_leaves_the_others_of_the_page_alone(served, tab):
    tab.page.evaluate(
        'window.before = window.__viserSceneTree.getState()["/map/0_0_0"].message.props.points'
    )
    for number in (100, 200):
        served.viewer.update_chunk((1, 0, 0), served.cloud[:number], 6.45, 0.05)
        tab.wait_for_node('/map/1_0_0')
        tab.page.wait_for_function(
            f'window.__viserSceneTree.getState()["/map/1_0_0"].message.props.colors.length'
            f' === {3 * number}'
        )
    assert tab.props('/map/0_0_0', 'm.props.points === window.before')
    served.viewer.update_chunk((1, 0, 0), PointCloud.empty(), 6.45, 0.05)
    tab.wait_for_node('/map/1_0_0', there=False)


def test_two_pages_see_the_same_also_after_a_lost_connection_but_look_from_where_they_like(
    browser, served, tab
):
    tab.ask('the chair')
    tab.wait_for_node('/answer/0/mask')
    other = ViewerPage(browser, served.viewer.url)
    other.wait_for_node('/answer/0/mask')
    other.wait_for_text('the chair · 92%')

    tab.click('look at')
    cameras = [client.camera for client in served.viewer._server.get_clients().values()]
    # A page tells where it was a moment ago, also at the end of a flight.
    wait_until(lambda: have_settled(cameras) and cameras_at(CHAIR, cameras), 'a flight')
    assert cameras_at(CHAIR, cameras) == 1

    before = set(served.viewer._server.get_clients())
    served.viewer._server._websock_server.disconnect_all_clients()
    wait_until(lambda: len(set(served.viewer._server.get_clients()) - before) == 2, 'reconnection')
    for page in (tab, other):
        page.wait_for_node('/answer/0/mask')
        page.wait_for_node('/map/0_0_0')
    served.viewer.clear_map()
    for page in (tab, other):
        page.wait_for_node('/map/0_0_0', there=False)
        page.wait_for_node('/answer/0/box', there=False)
        page.wait_for_text('A new map.')
    assert tab.page.get_by_role('button', name='the chair · 92%').count() == 0
    other.page.close()


def cameras_at(box: Box, cameras) -> int:
    return sum(bool(np.linalg.norm(camera.look_at - box.center) < 0.05) for camera in cameras)


def have_settled(cameras) -> bool:
    before = [camera.look_at for camera in cameras]
    time.sleep(1.0)
    return np.array_equal(before, [camera.look_at for camera in cameras])


def wait_until(condition, what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s: {what}'
        time.sleep(0.02)
