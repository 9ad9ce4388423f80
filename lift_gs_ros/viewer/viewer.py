"""The web viewer: a page with the map, the camera, a box to type a query into, and the answers.

Knows no ROS: ``nodes/viewer_node.py`` feeds it from topics, ``lift-gs ground --viewer`` from a
recording. All browsers see the same scene; one that comes late, or again, gets all of it. There is
no password: whoever reaches the port sees the map and may ask.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import viser
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, PointCloud
from lift_gs_ros.grounding.instances import Grounding
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.viewer import views
from lift_gs_ros.viewer.address import check_address, host_name, is_local, page_url
from lift_gs_ros.viewer.answer_scene import AnswerScene
from lift_gs_ros.viewer.camera_frustum import CameraFrustum
from lift_gs_ros.viewer.map_points import MapPoints
from lift_gs_ros.viewer.panel import Actions, Panel

MAX_POINTS = 1_000_000  # sent to a browser: 9 MB


def _is_of_a_browser(record: logging.LogRecord) -> bool:
    """Leave out the tracebacks of what speaks no websocket: `curl -I`, a port scan."""
    return record.getMessage() != 'opening handshake failed'


class _Server(viser.ViserServer):
    """viser's server without its tunnel, which would show a robot's map to the internet.

    A browser lets the page of any site connect to any address that it reaches, 127.0.0.1 too: such
    a page would see the map and ask. So only the server's own page is let in. A site may also have
    its own name mean 127.0.0.1 (DNS rebinding), and then is that page for all that a browser says:
    a server for this machine only wants to be called by a name of this machine.
    """

    def __init__(self, host: str, **options: Any) -> None:
        logging.getLogger('websockets.server').addFilter(_is_of_a_browser)
        super().__init__(host=host, **options)
        self._only_local = is_local(host)
        self._websock_server.on_client_connect(self._refuse_other_sites)

    async def _refuse_other_sites(self, client: Any) -> None:
        connection = self._websock_server._live_connections[client.client_id]
        assert connection.request is not None  # it is connected
        headers = connection.request.headers
        origin, host = headers.get('Origin'), headers.get('Host', '')
        if origin and urlsplit(origin).netloc != host:
            await connection.close(1008, f'the page of {origin} is not that of this server')
        elif self._only_local and not is_local(host_name(host)):
            reason = f'{host[:60]} is no name of this machine, expected localhost or 127.0.0.1'
            await connection.close(1008, reason)

    def request_share_url(self, verbose: bool = True) -> None:
        """Do nothing: a browser can ask for this whether there is a button for it or not."""


class Viewer:
    """Serves the page. Thread-safe.

    ``on_query`` gets what was typed (one line, not empty), and '' for "clear", in a thread of
    viser. What it leads to comes back with ``show``. ``port`` 0 takes any free one.
    """

    def __init__(
        self,
        on_query: Callable[[str], Any],
        host: str = '127.0.0.1',
        port: int = 8080,
        max_points: int = MAX_POINTS,
    ) -> None:
        check_address(host, port)
        self._on_query = on_query
        self._lock = threading.RLock()
        self._server = _Server(host=host, port=port, label='lift_gs_ros', verbose=False)
        self.url = page_url(host, self._server.get_port())
        scene = self._server.scene
        scene.configure_default_lights(cast_shadow=False)
        self._map = MapPoints(scene, max_points)
        self._answer, self._camera = AnswerScene(scene), CameraFrustum(scene)
        self._home = views.Home(self._server)
        self._shown: Grounding | None = None
        self._awaited: str | None = None  # asked on the page, and not answered yet
        self._looks_back = False  # shows an older answer than the newest
        order = 'keyframes', 'version', 'device', 'weights', 'latency'
        self._facts = dict.fromkeys(order, '')
        actions = Actions(
            ask=self._ask,
            clear=self._clear,
            select=self._select,
            look_at_answer=self._look_at_answer,
            look_at_map=self._look_at_map,
            cut=self._cut,
            resize=self._resize,
        )
        self._panel = Panel(self._server.gui, actions)

    @property
    def num_browsers(self) -> int:
        """Pages that are open."""
        return len(self._server.get_clients())

    def close(self) -> None:
        """Stop serving."""
        self._server.stop()

    def update_chunk(
        self, key: ChunkKey, cloud: PointCloud, chunk_size: float, voxel_size: float
    ) -> None:
        """Replace a chunk of the map (map frame, metres); an empty cloud removes it."""
        with self._lock:
            self._map.update(key, cloud, chunk_size, voxel_size)
            bounds = self._map.bounds()
            if bounds is None:
                return
            self._panel.fit_cut(bounds.lower[2], self._map.top, self._map.default_cut())
            self._home.follow(bounds)

    def set_facts(self, **facts: str) -> None:
        """Add to the line at the bottom, by name; a fact of the same name is replaced."""
        with self._lock:
            self._facts.update(facts)
            self._panel.set_status([*self._map.facts(), *self._facts.values()])

    def set_camera(
        self,
        world_from_camera: FloatArray,
        camera: Camera | None = None,
        image: NDArray[np.uint8] | None = None,
    ) -> None:
        """Show where the camera is, and what it sees ((H, W, 3) uint8; small: it is sent)."""
        with self._lock:
            self._camera.show(world_from_camera, camera, image)

    def show(self, grounding: Grounding) -> None:
        """Show an answer, but not again while the user looks back at that of another query."""
        with self._lock:
            if not grounding.query.strip():
                self._show_nothing('Ask for something.')
                return
            self.set_facts(latency=f'answered in {grounding.latency.total_ms:.0f} ms')
            is_again = self._panel.knows(grounding.query) and grounding.query != self._awaited
            if grounding.instances or not grounding.message:
                self._panel.remember(grounding)
            if not (is_again and self._looks_back):
                self._looks_back, self._awaited = False, None
            elif self._shown is None or self._shown.query != grounding.query:
                return
            self._display(grounding)

    def note(self, text: str) -> None:
        """Say something in the place of the answer."""
        with self._lock:
            self._panel.note(text)

    def clear_map(self) -> None:
        """Start again: a new map, without answers."""
        with self._lock:
            self._map.clear()
            self._panel.forget()
            self._show_nothing('A new map.')

    def _display(self, grounding: Grounding) -> None:
        self._shown = grounding
        self._panel.show(grounding)
        self._answer.show(grounding, self._map.voxel_size)
        points = [target.points for target in grounding.targets]
        self._map.hide(np.concatenate([np.zeros((0, 3), np.float32), *points]))

    def _show_nothing(self, note: str) -> None:
        self._shown, self._awaited, self._looks_back = None, None, False
        self._answer.clear()
        self._map.hide(np.zeros((0, 3), np.float32))
        self._panel.note(note)

    def _ask(self, text: str) -> None:
        text = ' '.join(text.split())
        with self._lock:
            refusal = self._panel.refusal(text)
            self._panel.note(refusal or f'Looking for “{text}” …')
            self._awaited = None if refusal else text
        if not refusal:
            self._on_query(text)

    def _clear(self) -> None:
        with self._lock:
            self._show_nothing('Ask for something.')
        self._on_query('')

    def _select(self, grounding: Grounding, is_old: bool) -> None:
        with self._lock:
            self._looks_back = is_old
            self._display(grounding)

    def _look_at_answer(self, client: viser.ClientHandle | None) -> None:
        with self._lock:
            targets = self._shown.targets if self._shown else []
            points, bounds = self._map.shown(), self._map.bounds()
        if client and targets and bounds:
            views.fly(client, views.view_of_box(targets[0].box, points, bounds.center))

    def _look_at_map(self, client: viser.ClientHandle | None) -> None:
        with self._lock:
            bounds = self._map.bounds()
        if client and bounds:
            views.fly(client, views.view_of_map(bounds))

    def _cut(self, height: float) -> None:
        with self._lock:
            self._map.cut(height)

    def _resize(self, scale: float) -> None:
        with self._lock:
            self._map.resize(scale)
