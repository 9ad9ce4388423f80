"""Where the page is served."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


def check_address(host: str, port: int) -> None:
    """Raise ValueError where ``host`` and ``port`` (0: any free one) can not be served.

    viser itself would take another port without a word, and wait forever for a foreign address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ValueError(
            f'the viewer can not be served at {host}:{port} ({error.strerror}): choose another '
            'port, or as host 127.0.0.1 (this machine) or 0.0.0.0 (the network)'
        ) from None


def page_url(host: str, port: int) -> str:
    """Address to type into a browser on this machine."""
    name = {'0.0.0.0': 'localhost', '::': 'localhost'}.get(host, host)
    return f'http://{f"[{name}]" if ":" in name else name}:{port}'


def host_name(netloc: str) -> str:
    """Name or address of a page (``robot:8080``, ``[::1]:8080``); '' where there is none."""
    try:
        return urlsplit(f'//{netloc}').hostname or ''
    except ValueError:  # "[::1"
        return ''


def is_local(host: str) -> bool:
    """Say whether only this machine reaches a server on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
