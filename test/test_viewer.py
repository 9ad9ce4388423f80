"""The viewer without a browser: what is sent, and where it is served."""

import math
import socket

import numpy as np
import pytest
import viser
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding, MapSummary
from lift_gs_ros.viewer import texts
from lift_gs_ros.viewer.address import host_name, is_local, page_url
from lift_gs_ros.viewer.answer_scene import confidence_color
from lift_gs_ros.viewer.map_points import MapPoints
from lift_gs_ros.viewer.viewer import Viewer
from lift_gs_ros.viewer.views import FIELD_OF_VIEW, view_of_box, view_of_map


def cloud_of(count: int, upper=(1.0, 1.0, 2.5), seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    return PointCloud(rng.uniform([-1, -1, 0], upper, (count, 3)), rng.uniform(0, 1, (count, 3)))


def instance(phrase: str, score: float, is_target: bool = True) -> GroundedInstance:
    points = np.zeros((1, 3), np.float32)
    box = Box(np.zeros(3), np.ones(3))
    return GroundedInstance(0, phrase, (0, 1), is_target, score, box, points, points[:, 0])


@pytest.fixture(scope='module')
def viewer():
    viewer = Viewer(lambda text: None, port=0)
    yield viewer
    viewer.close()


@pytest.fixture
def points(viewer) -> MapPoints:
    return MapPoints(viewer._server.scene, max_points=1000)


def sent(points: MapPoints) -> dict:
    """Positions (N, 3) that the browsers have of each chunk, in the map frame."""
    return {
        key: chunk.handle.points.astype(np.float64) + chunk.center
        for key, chunk in points._chunks.items()
    }


def test_points_arrive_where_they_are_to_a_few_millimetres(points):
    cloud = cloud_of(500)
    far = PointCloud(cloud.positions + [645, -645, 0], cloud.colors)
    points.update((100, -100, 0), far, 6.45, 0.05)
    [positions] = sent(points).values()
    order = np.random.default_rng(0).permutation(500)
    np.testing.assert_allclose(positions, far.positions[order], atol=2e-3)


def test_a_large_map_is_thinned_evenly_with_larger_points_and_back(points):
    for key in range(4):
        points.update((key, 0, 0), cloud_of(1000), 6.45, 0.05)
    assert [len(positions) for positions in sent(points).values()] == [250] * 4
    assert [chunk.handle.point_size for chunk in points._chunks.values()] == [0.1] * 4
    assert points.facts() == ['4,000 points (1 of 4 shown)', '4 chunks']
    for key in range(3):
        points.update((key, 0, 0), PointCloud.empty(), 6.45, 0.05)
    [positions] = sent(points).values()
    assert len(positions) == 1000


def test_a_room_is_cut_open_and_a_higher_map_is_not(points):
    assert points.default_cut() == math.inf
    points.update((0, 0, 0), cloud_of(800), 6.45, 0.05)
    assert points.default_cut() == pytest.approx(2.0, abs=0.1)
    points.cut(points.default_cut())
    [positions] = sent(points).values()
    assert 0 < positions[:, 2].max() <= 2.1
    points.cut(math.inf)
    [positions] = sent(points).values()
    assert len(positions) == 800
    points.update((0, 0, 1), cloud_of(100, (1, 1, 8)), 6.45, 0.05)
    assert points.default_cut() == math.inf


def test_a_few_stray_points_do_not_move_the_view_or_the_cut(points):
    points.update((0, 0, 0), cloud_of(800), 6.45, 0.05)
    bounds, cut = points.bounds(), points.default_cut()
    stray = PointCloud(np.float32([[30, 0, -9]]), np.zeros((1, 3)))
    points.update((5, 0, -1), stray, 6.45, 0.05)
    np.testing.assert_allclose(points.bounds().size, bounds.size)
    assert points.default_cut() == cut


def test_hidden_voxels_leave_and_come_back(points):
    cloud = cloud_of(800)
    points.update((0, 0, 0), cloud, 6.45, 0.05)
    points.hide(cloud.positions[:100])
    [positions] = sent(points).values()
    assert len(positions) <= 700
    distance = np.abs(positions[:, None] - cloud.positions[None, :100]).max(axis=-1).min()
    assert distance > 0.002, 'a hidden point was sent'
    points.hide(np.zeros((0, 3), np.float32))
    assert len(sent(points)[0, 0, 0]) == 800


def test_the_page_is_for_this_machine_only_unless_asked_otherwise():
    def reaches(host: str, to: str) -> bool:
        viewer = Viewer(lambda text: None, host=host, port=0)
        try:
            port = int(viewer.url.rpartition(':')[2])
            with socket.create_connection((to, port), timeout=5):
                return True
        except ConnectionRefusedError:
            return False
        finally:
            viewer.close()

    assert reaches('127.0.0.1', '127.0.0.1')
    # Another address of this machine, as its address on a network is.
    assert not reaches('127.0.0.1', '127.0.0.2')
    assert reaches('0.0.0.0', '127.0.0.2')


@pytest.mark.parametrize('origin', ['http://{host}', None])
def test_its_own_page_and_programs_are_let_in(viewer, origin):
    with connected(viewer, origin) as page:
        assert page.recv(timeout=20)


@pytest.mark.parametrize('origin', ['http://127.0.0.1:1', 'http://news.example', 'null'])
def test_the_page_of_another_site_is_not_let_in(viewer, origin):
    refusal = pytest.raises(ConnectionClosedError, match='is not that of this server')
    with connected(viewer, origin) as page, refusal:
        page.recv(timeout=20)


@pytest.mark.parametrize('name', ['evil.example', '192.0.2.1', 'localhost.evil.example'])
def test_a_site_that_has_its_own_name_mean_this_machine_is_not_let_in(viewer, name):
    refusal = pytest.raises(ConnectionClosedError, match='is no name of this machine')
    with connected(viewer, 'http://{host}', name) as page, refusal:
        page.recv(timeout=20)


@pytest.mark.parametrize('name', ['localhost', '127.0.0.1', '[::1]'])
def test_every_name_of_this_machine_will_do_as_through_a_tunnel_of_ssh(viewer, name):
    with connected(viewer, 'http://{host}', name) as page:
        assert page.recv(timeout=20)


def test_a_viewer_that_is_open_to_the_network_is_let_in_to_by_every_name():
    viewer = Viewer(lambda text: None, host='0.0.0.0', port=0)
    try:
        with connected(viewer, 'http://{host}', 'robot.local') as page:
            assert page.recv(timeout=20)
    finally:
        viewer.close()


def connected(viewer, origin: str | None, name: str = '127.0.0.1'):
    """Open a connection as a page of that origin does, under a name; None: no browser."""
    port = int(viewer.url.rpartition(':')[2])
    return connect(
        f'ws://{name}:{port}',
        origin=origin and origin.format(host=f'{name}:{port}'),
        subprotocols=[f'viser-v{viser.__version__}'],
        sock=socket.create_connection(('127.0.0.1', port)),
        max_size=None,
    )


def test_local_addresses_are_told_from_open_ones():
    assert all(map(is_local, ('127.0.0.1', 'localhost', '::1')))
    assert not any(map(is_local, ('0.0.0.0', '::', '192.168.1.7', 'robot.local')))
    assert [host_name(text) for text in ('a:1', '[::1]:1', '[::1', '')] == ['a', '::1', '', '']
    assert page_url('0.0.0.0', 80) == 'http://localhost:80'
    assert page_url('::1', 80) == 'http://[::1]:80'


@pytest.mark.parametrize('host', ['127.0.0.1', '192.0.2.1', 'no-such-host.invalid'])
def test_an_address_that_cannot_be_served_is_an_error_and_not_another_port(viewer, host):
    port = int(viewer.url.rpartition(':')[2])
    with pytest.raises(ValueError, match=f'can not be served at {host}:{port}'):
        Viewer(lambda text: None, host=host, port=port)


def test_a_changed_chunk_does_not_send_the_others_of_a_room_that_is_cut_again(viewer):
    viewer.clear_map()
    for key in range(2):
        viewer.update_chunk((key, 0, 0), cloud_of(500), 6.45, 0.05)
    chunks = viewer._map._chunks
    other = chunks[1, 0, 0].handle
    assert len(other.points) < 500, 'the room is not cut'
    assert viewer._panel._cut.value == pytest.approx(viewer._map.default_cut(), abs=0.1)
    for seed in range(1, 4):  # its floor is a little higher or lower each time
        changed = chunks[0, 0, 0].handle
        viewer.update_chunk((0, 0, 0), cloud_of(500, seed=seed), 6.45, 0.05)
        assert chunks[0, 0, 0].handle is not changed
    assert chunks[1, 0, 0].handle is other


def test_no_page_can_open_a_tunnel_to_the_internet(viewer):
    assert viewer._server.request_share_url() is None
    assert viewer._server._share_tunnel is None


def test_whoever_writes_on_query_cannot_write_html():
    evil = '<script>alert(1)</script>'
    found = Grounding(evil, 0, 'map', [instance(evil, 0.9)])
    refused = Grounding(evil, 0, 'map', message=evil)
    for html in (texts.answer_html(found), texts.answer_html(refused), texts.note_html(evil)):
        assert '<script' not in html
        assert '&lt;script' in html
    assert '<script' not in texts.status_html([evil])


def test_an_answer_is_said_in_a_few_words():
    assert texts.verdict(Grounding('x', 0, 'map', none_score=0.87)) == 'not here, 87%'
    found = [instance('chair', 0.92), instance('chair', 0.7), instance('door', 0.8, False)]
    assert texts.verdict(Grounding('x', 0, 'map', found)) == '92% +1'
    assert texts.verdict(Grounding('x', 0, 'map', message='no map yet')) == 'no map yet'
    in_part = Grounding('x', 0, 'map', found, message='the rest was too long')
    assert texts.verdict(in_part) == '92% +1'
    assert 'the rest was too long' in texts.answer_html(in_part)


def test_the_surer_the_greener():
    scores = [0.3, 0.5, 0.6, 0.8, 1.0]
    red, green, _ = np.array([confidence_color(score) for score in scores]).T
    assert red[0] == red[1]
    assert (np.diff((green - red)[1:]) > 0).all()


def test_the_newest_answer_of_a_query_takes_the_place_of_the_one_before(viewer):
    history = viewer._panel._history
    for version, query in enumerate(['a', 'a', 'b', 'a']):
        viewer.show(Grounding(query, 0, 'map', map=MapSummary(version=version)))
    assert [(a.grounding.query, a.grounding.map.version) for a in history] == [('b', 2), ('a', 3)]
    for number in range(20):
        viewer.show(Grounding(f'query {number}', 0, 'map'))
    assert len(history) == 8
    viewer.clear_map()
    assert history == []


def test_who_looks_at_an_older_answer_is_not_thrown_off_it_while_others_are_answered_again(viewer):
    def show(query: str) -> str:
        viewer.show(Grounding(query, 0, 'map'))
        return viewer._shown.query

    assert [show('a'), show('b')] == ['a', 'b']
    viewer._panel._select(1)
    assert viewer._shown.query == 'a'
    assert [show('b'), show('a'), show('b')] == ['a', 'a', 'a']
    viewer.show(Grounding('a', 0, 'map', map=MapSummary(version=7)))
    assert viewer._shown.map.version == 7  # that one is kept up to date
    viewer._ask('b')  # typed on the page
    assert show('b') == 'b'
    viewer._panel._select(1)
    assert show('c') == 'c'  # was not asked before


def test_a_new_map_is_cut_open_where_it_should_be_however_the_slider_stood(viewer):
    def show_walls(height: float) -> None:
        rng = np.random.default_rng(0)
        walls = rng.uniform([-2, -2, height], [2, 2, height + 2.5], (5000, 3))
        cloud = PointCloud(walls.astype(np.float32), np.ones((5000, 3), np.float32))
        viewer.update_chunk((0, 0, round(height)), cloud, 6.45, 0.05)

    show_walls(0.0)
    viewer._panel._cut_is_default = False  # somebody has moved the slider
    viewer._cut(1.0)
    viewer.clear_map()
    show_walls(12.0)
    assert len(viewer._map.shown()) > 1000


def test_the_whole_map_is_in_the_first_view():
    room = Box.from_corners((-2, -3, 0), (4, 3, 2.5))
    view = view_of_map(room)
    assert view.position[2] > room.upper[2]
    forward = view.look_at - view.position
    forward /= np.linalg.norm(forward)
    directions = room.corners() - view.position
    cosines = directions @ forward / np.linalg.norm(directions, axis=1)
    assert cosines.min() > np.cos(FIELD_OF_VIEW / 2)


def test_an_answer_is_looked_at_from_where_no_wall_is_in_the_way():
    """A picture on a wall of a room whose neighbours have walls, too, and one in the open."""
    y, z = np.meshgrid(np.arange(-2, 2, 0.05), np.arange(0, 2, 0.05))
    walls = [np.stack([np.full_like(y, x), y, z], axis=-1).reshape(-1, 3) for x in (-3.0, 0.0)]
    for side in (-0.1, 0.1):
        picture = Box(np.array([side, 0.0, 1.0]), np.array([0.05, 0.8, 0.6]))
        view = view_of_box(picture, np.concatenate(walls), np.array([-1.5, 0, 1]))
        assert np.sign(view.position[0]) == np.sign(side)
        assert view.position[2] > 1.3
        np.testing.assert_array_equal(view.look_at, picture.center)
    alone = view_of_box(picture, np.zeros((0, 3)), np.array([-1.5, 0, 1]))
    assert alone.position[0] < -1
