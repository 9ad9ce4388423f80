"""A bag of any kind, through rosbags, with its errors as one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from lift_gs_ros.messages import frame_name
from lift_gs_ros.sequences.bag_topics import IMAGE_TYPES, Topic

SUFFIXES = ('.mcap', '.db3', '.bag')


def is_bag(path: Path) -> bool:
    """Say whether a file is a bag by its name, or a folder by what it holds."""
    return path.suffix in SUFFIXES if path.is_file() else bool(_storage(path))


def _storage(path: Path) -> Path | None:
    """Path that rosbags opens: a file, a folder with metadata, or the only file of one without."""
    if path.is_file() or (path / 'metadata.yaml').is_file():
        return path
    files = [file for suffix in SUFFIXES for file in path.glob(f'*{suffix}')]
    return files[0] if len(files) == 1 else None


class BagFile:
    """An open bag; use it in a ``with`` statement. What rosbags raises becomes a ValueError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> BagFile:
        with _one_sentence():
            # Bags older than Iron do not say what their messages look like.
            self._reader = AnyReader(
                [_storage(self._path) or self._path],
                default_typestore=get_typestore(Stores.ROS2_HUMBLE),
            )
            self._reader.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self._reader.duration / 1e9

    def topics(self) -> list[Topic]:
        """Return the topics, sorted by name; of images also the encoding and the frame."""
        topics = []
        for name in sorted({connection.topic for connection in self._reader.connections}):
            of_topic = [c for c in self._reader.connections if c.topic == name]
            types = tuple(sorted({connection.msgtype for connection in of_topic}))
            topic = Topic(name, types, sum(connection.msgcount for connection in of_topic))
            if topic.count and topic.is_a(IMAGE_TYPES):
                image = self.first(topic)
                frame = frame_name(image.header.frame_id)
                topic = Topic(name, types, topic.count, _encoding(image), frame)
            topics.append(topic)
        return topics

    def first(self, topic: Topic) -> Any:
        """Return the first message of a topic."""
        for _, message in self.messages([topic]):
            return message
        raise ValueError(f'it says that it has messages on {topic.name}, and has none')

    def messages(self, topics: Iterable[Topic]) -> Iterator[tuple[str, Any]]:
        """Yield the messages of topics in the order of the recording, with their topics' names."""
        for connection, raw in self.raw_messages(topics):
            yield connection.topic, self.decode(connection, raw)

    def raw_messages(self, topics: Iterable[Topic]) -> Iterator[tuple[Connection, bytes]]:
        """Yield the messages as they were recorded."""
        names = {topic.name for topic in topics}
        connections = [c for c in self._reader.connections if c.topic in names]
        with _one_sentence():
            # Without connections rosbags would read everything.
            for connection, _, raw in self._reader.messages(connections) if connections else ():
                yield connection, raw

    def decode(self, connection: Connection, raw: bytes) -> Any:
        """Read a message; bytes behind a whole image are let be (some RealSense bags have them)."""
        try:
            return self._reader.deserialize(raw, connection.msgtype)
        except AnyReaderError as error:
            if connection.msgtype not in IMAGE_TYPES or 'size mismatch' not in str(error):
                raise ValueError(f'a message on {connection.topic} is damaged: {error}') from error
        typestore = self._reader.typestore
        definition = typestore.get_msgdef(connection.msgtype)
        if not self._reader.is2:
            return definition.deserialize_ros1(raw, 0, definition.cls, typestore)[0]
        if raw[1]:
            return definition.deserialize_cdr_le(raw[4:], 0, definition.cls, typestore)[0]
        return definition.deserialize_cdr_be(raw[4:], 0, definition.cls, typestore)[0]


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # rosbags passes on what struct, lz4, zstd and sqlite raise
        raise ValueError(
            f'it is no whole bag ({type(error).__name__}: {error}); '
            'if the recorder was killed, `ros2 bag reindex` or `rosbag reindex` may repair it'
        ) from error


def _encoding(image: Any) -> str:
    if hasattr(image, 'encoding'):
        return image.encoding
    encoding, separator, _ = image.format.partition(';')
    if separator or encoding.strip() not in ('jpeg', 'jpg', 'png'):
        return encoding.strip()
    # No encoding but a file's kind: byte 24 of a PNG is its bit depth, 16 for depth images.
    return '16UC1' if bytes(image.data[1:4]) == b'PNG' and image.data[24] == 16 else 'rgb8'
