"""What decides how a query is answered, apart from the weights."""

from __future__ import annotations

from dataclasses import dataclass

CAMERA_STEP = 0.25  # metres that the camera moves before it is somewhere else to standing queries


@dataclass(frozen=True)
class GrounderSettings:
    """What a robot may want to tune; thresholds are probabilities."""

    frame_id: str = 'map'
    chunk_size: float = 6.45  # metres, that of the map
    chunk_overlap: float = 0.6  # metres of the neighbours that give a chunk its context
    score_threshold: float = 0.5  # instances below are not reported
    mask_threshold: float = 0.6  # a point belongs to an instance from here on
    max_instances: int = 20  # reported for one phrase
    max_chunks: int = 32  # in which each thing is looked for; the most similar ones are chosen
    largest_component: bool = True  # drop points of a mask that do not hang together with it

    def __post_init__(self) -> None:
        for name in ('score_threshold', 'mask_threshold'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a probability in [0, 1]')
        for name in ('chunk_size', 'max_instances', 'max_chunks'):
            if (value := getattr(self, name)) <= 0:
                raise ValueError(f'{name} is {value}, expected a positive number')
        if not 0 <= self.chunk_overlap <= self.chunk_size:
            raise ValueError(
                f'chunk_overlap is {self.chunk_overlap} m, expected 0 to {self.chunk_size} m '
                '(the chunk size)'
            )
