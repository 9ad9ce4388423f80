"""The sizes of the network: ``base`` is the paper, ``small`` ships with weights, ``tiny`` tests."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

NUM_STAGES = 8  # four down, four up; the coarsest voxels are 16 times the finest
LANGUAGE_ENCODERS = ('minilm', 'open_clip')
TOKEN_STRIDES = (1, 2, 4, 8)  # the levels that the decoder path of the UNet passes


@dataclass(frozen=True)
class LiftGSConfig:
    """Every size that decides the shapes of the parameters (LIFT-GS, section 3.4 and A.1).

    The defaults are the paper's. What the paper does not give (the width of the mask embeddings,
    the resolution of the tokens that cross-attention reads) is chosen here: masks need far fewer
    channels than features, and the renderer's cost grows with every channel; 20 cm tokens keep
    the cached keys and values of a room at a few tens of megabytes.
    """

    voxel_size: float = 0.05  # metres
    stem_channels: int = 32
    stem_kernel: int = 5  # 5: one 5x5x5 convolution; 3: one 3x3x3 (a quarter of the time)
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    blocks: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)  # residual blocks of each stage
    feature_dim: int = 96  # F, the per-point features
    mask_dim: int = 96  # d, mask features and mask embeddings
    token_stride: int = 4  # visual tokens are voxels of this many fine voxels
    decoder_layers: int = 8
    hidden_dim: int = 512
    heads: int = 8
    feedforward_dim: int = 2048
    dropout: float = 0.15
    proposals: int = 256  # m, learnt
    max_proposals: int = 256  # m in a large room: the learnt ones, repeated
    language: str = 'open_clip'  # the encoder that the weights were trained with
    language_dim: int = 768  # D, width of the language encoder's embeddings
    query_tokens: str = 'words'  # or 'phrases': one vector each, as of an image (language.py)
    position_bands: int = 8  # octaves of the Fourier features, wavelengths 32 m down to 0.25 m

    def __post_init__(self) -> None:
        # JSON has no tuples: a config read from a checkpoint brings lists.
        object.__setattr__(self, 'channels', tuple(self.channels))
        object.__setattr__(self, 'blocks', tuple(self.blocks))
        for name in ('channels', 'blocks'):
            value = getattr(self, name)
            if len(value) != NUM_STAGES or any(not _is_count(item) for item in value):
                raise ValueError(
                    f'{name} is {value}, expected {NUM_STAGES} positive integers: '
                    'four stages down, four up'
                )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == 'int' and not _is_count(value):
                raise ValueError(f'{field.name} is {value!r}, expected a positive integer')
        if not 0 < self.voxel_size < float('inf'):
            raise ValueError(f'voxel_size is {self.voxel_size}, expected a positive size in metres')
        if self.stem_kernel not in (3, 5):
            raise ValueError(f'stem_kernel is {self.stem_kernel}, expected 3 or 5')
        if self.max_proposals < self.proposals:
            raise ValueError(
                f'max_proposals is {self.max_proposals}, expected at least the {self.proposals} '
                'proposals that are learnt'
            )
        if self.token_stride not in TOKEN_STRIDES:
            raise ValueError(
                f'token_stride is {self.token_stride}, expected one of {TOKEN_STRIDES}: '
                "tokens are taken from the UNet's way up"
            )
        if self.hidden_dim % self.heads:
            raise ValueError(
                f'hidden_dim {self.hidden_dim} is not divisible by heads {self.heads}: '
                'every head gets an equal share of the channels'
            )
        if self.language not in LANGUAGE_ENCODERS:
            raise ValueError(f'language is {self.language!r}, expected one of {LANGUAGE_ENCODERS}')
        if self.query_tokens not in ('words', 'phrases'):
            raise ValueError(
                f"query_tokens is {self.query_tokens!r}, expected 'words' or 'phrases'"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout is {self.dropout}, expected a probability in [0, 1)')

    @property
    def token_channels(self) -> int:
        """Channels of the UNet stage that the visual tokens come from."""
        return self.channels[7 - TOKEN_STRIDES.index(self.token_stride)]

    @classmethod
    def base(cls, **changes: Any) -> LiftGSConfig:
        """Return the paper's network (with CLIP ViT-L/14, 768 channels of language)."""
        return cls(**changes)

    @classmethod
    def small(cls, **changes: Any) -> LiftGSConfig:
        """Return the network that ships with weights: 6 M parameters, MiniLM's 384 channels."""
        sizes: dict[str, Any] = {
            'stem_channels': 24,
            'stem_kernel': 3,
            'channels': (24, 48, 64, 96, 96, 64, 48, 48),
            'blocks': (1, 1, 2, 2, 1, 1, 1, 1),
            'feature_dim': 64,
            'mask_dim': 32,
            'decoder_layers': 4,
            'hidden_dim': 192,
            'heads': 6,
            'feedforward_dim': 768,
            'dropout': 0.1,
            'proposals': 64,
            'max_proposals': 128,
            'language': 'minilm',
            'language_dim': 384,
        }
        return cls(**{**sizes, **changes})

    @classmethod
    def tiny(cls, **changes: Any) -> LiftGSConfig:
        """Return a network for tests: every part is there, nothing takes time."""
        sizes: dict[str, Any] = {
            'stem_channels': 4,
            'stem_kernel': 3,
            'channels': (4, 6, 8, 8, 8, 8, 6, 6),
            'blocks': (1,) * NUM_STAGES,
            'feature_dim': 8,
            'mask_dim': 6,
            'token_stride': 2,
            'decoder_layers': 2,
            'hidden_dim': 16,
            'heads': 2,
            'feedforward_dim': 32,
            'dropout': 0.0,
            'proposals': 5,
            'max_proposals': 10,
            'language': 'minilm',
            'language_dim': 12,
            'position_bands': 4,
        }
        return cls(**{**sizes, **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LiftGSConfig:
        """Build a config from a checkpoint's JSON; unknown names are an error, not ignored."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f'config has unknown fields {unknown}, known are {sorted(known)}')
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, the inverse of ``from_dict``."""
        return asdict(self)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
