"""LIFT-GS: coloured points and a sentence in, Gaussians, masks and correspondences out (eq. 1).

Encode a cloud once, decode it for many sentences::

    model = load_checkpoint(path)
    language = load_language_encoder(model.config.language)
    encodings = model.encode([(positions, colors)])
    decoded = model.decode(encodings, language.encode('the red mug next to the sink'))
    masks = decoded.mask_logits().sigmoid()  # (P, m)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.gaussian_head import GaussianHead
from lift_gs_ros.model.local_decoder import Outcome, decode_locally
from lift_gs_ros.model.mask_decoder import LayerOutput, MaskDecoder, mask_logits, unit_mlp
from lift_gs_ros.model.questions import Question, Reading
from lift_gs_ros.model.scene import SceneEncoding
from lift_gs_ros.model.seeds import position_channels
from lift_gs_ros.model.sparse import load_backend
from lift_gs_ros.model.tiles import Tiles
from lift_gs_ros.model.tokens import LanguageTokens
from lift_gs_ros.model.unet import SparseUNet, Voxels, mean_rows, voxelize
from lift_gs_ros.model.voxel_grid import pack

Cloud = tuple[ArrayLike | Tensor, ArrayLike | Tensor]

UNTRAINED = 'untrained'
PROPOSALS_AT_ONCE = 2048  # decoded in one pass; bounds the memory that it takes
INITIAL_MASK_BIAS = -1.0  # most points belong to no given object


def span_log_prob(correspondence: Tensor, tokens: ArrayLike | Tensor) -> Tensor:
    """Log-probability (m,) that each proposal answers to any of the given tokens.

    ``correspondence`` is (m, T + 1) log-probabilities; ``tokens`` are indices in [0, T). Without
    tokens the result is minus infinity.
    """
    index = torch.as_tensor(tokens, dtype=torch.long, device=correspondence.device)
    return correspondence[:, index].logsumexp(dim=1)


@dataclass(frozen=True)
class Decoded:
    """The answer to one sentence on one or several encodings."""

    scene: SceneEncoding  # the encodings as one; its points are the rows of the masks
    splits: tuple[int, ...]  # points of each encoding
    tokens: LanguageTokens
    layers: list[LayerOutput]  # of every decoder layer, the last one is the answer
    mask_bias: Tensor  # ()

    @property
    def mask_embeddings(self) -> Tensor:
        """Embeddings (m, d) of the proposals' masks."""
        return self.layers[-1].mask_embeddings

    @property
    def correspondence(self) -> Tensor:
        """Log-probabilities (m, T + 1); the last column is "no object"."""
        return self.layers[-1].correspondence

    def mask_logits(self, layer: int = -1) -> Tensor:
        """Mask logits (P, m) of all points, encodings one after the other."""
        return self.logits_of(self.scene.mask_features, layer)

    def logits_of(self, mask_features: Tensor, layer: int = -1) -> Tensor:
        """Mask logits (..., m) of mask features (..., d), such as rendered ones (H, W, d)."""
        return mask_logits(mask_features, self.layers[layer].mask_embeddings, self.mask_bias)

    def split(self, rows: Tensor) -> list[Tensor]:
        """Split rows (P, ...) back into those of each encoding."""
        return list(rows.split(self.splits))

    def span_probability(self, tokens: ArrayLike | Tensor) -> Tensor:
        """Probability (m,) that each proposal answers to any of the given tokens (indices)."""
        return span_log_prob(self.correspondence, tokens).exp()


class LiftGS(nn.Module):
    """The whole network but for the frozen language encoder.

    ``backend`` is that of the sparse convolutions (``sparse.load_backend``); it is no property of
    the weights. ``weights`` says where the parameters come from.
    """

    def __init__(self, config: LiftGSConfig, backend: str = 'auto') -> None:
        super().__init__()
        self.config = config
        self.weights = UNTRAINED
        self.unet = SparseUNet(config, load_backend(backend))
        self.gaussian_head = GaussianHead(config.feature_dim, config.voxel_size)
        self.mask_head = unit_mlp(config.feature_dim, config.feature_dim, config.mask_dim)
        self.mask_bias = nn.Parameter(torch.tensor(INITIAL_MASK_BIAS))
        self.decoder = MaskDecoder(config)
        self.text_to_feature = nn.Sequential(
            nn.LayerNorm(config.language_dim, elementwise_affine=False),
            nn.Linear(config.language_dim, config.feature_dim),
        )

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.mask_bias.device

    def encode(self, clouds: Sequence[Cloud]) -> list[SceneEncoding]:
        """Encode clouds of positions (P, 3) in metres and colours (P, 3) in [0, 1].

        Arrays or tensors, one encoding per cloud, points in the order given. Several clouds are
        one batch. Raises ValueError for an empty cloud, a wrong shape or a number not finite.
        """
        if not clouds:
            return []
        tensors = [self._check_cloud(i, cloud) for i, cloud in enumerate(clouds)]
        voxels = voxelize(tensors, self.config.voxel_size)
        features, token_features, token_indices = self.unet(voxels)
        features = features.float()[voxels.voxel_of_point]
        keys, values = self.decoder.cache(token_features)
        token_of_point = self._token_of_point(voxels, token_indices)
        encodings, first = [], 0
        num_tokens = torch.bincount(token_indices[:, 0], minlength=len(tensors)).tolist()
        num_points = [len(positions) for positions, _ in tensors]
        for (positions, colors), own, tokens_of, n in zip(
            tensors, features.split(num_points), token_of_point.split(num_points), num_tokens
        ):
            rows = slice(first, first + n)
            encodings.append(
                self._scene(
                    positions, colors, own, tokens_of - first, keys[:, rows], values[:, rows]
                )
            )
            first += n
        return encodings

    def restore(
        self, cloud: Cloud, features: Tensor, keys: Tensor, values: Tensor
    ) -> SceneEncoding:
        """Make an encoding again from what the networks said of its cloud, quickly.

        ``features`` (P, F), ``keys`` and ``values`` (L, V, H) are those of its ``SceneEncoding``,
        of any floating dtype, on any device. Raises ValueError where they are not of this cloud.
        """
        positions, colors = self._check_cloud(0, cloud)
        voxels = voxelize([(positions, colors)], self.config.voxel_size)
        cells = voxels.indices.clone()
        cells[:, 1:] //= self.config.token_stride
        tokens, token_of_voxel = torch.unique(pack(cells), return_inverse=True)
        if len(features) != len(positions) or keys.shape[1] != len(tokens):
            raise ValueError(
                f'got features of {len(features)} points and keys of {keys.shape[1]} tokens, '
                f'expected {len(positions)} and {len(tokens)}, as the cloud has'
            )
        features, keys, values = (part.to(positions) for part in (features, keys, values))
        token_of_point = token_of_voxel[voxels.voxel_of_point]
        return self._scene(positions, colors, features, token_of_point, keys, values)

    def _check_cloud(self, number: int, cloud: Cloud) -> tuple[Tensor, Tensor]:
        positions, colors = (
            torch.as_tensor(part, dtype=torch.float32, device=self.device) for part in cloud
        )
        shape = tuple(positions.shape)
        if len(shape) != 2 or shape[1] != 3 or shape[0] == 0 or colors.shape != positions.shape:
            raise ValueError(
                f'cloud {number} has positions {shape} and colors {tuple(colors.shape)}, '
                'expected (P, 3) for both with P >= 1'
            )
        if not (positions.isfinite().all() and colors.isfinite().all()):
            raise ValueError(f'cloud {number} holds NaN or infinity, expected finite numbers')
        return positions, colors

    def _token_of_point(self, voxels: Voxels, token_indices: Tensor) -> Tensor:
        cells = voxels.indices.clone()
        cells[:, 1:] //= self.config.token_stride
        return torch.searchsorted(pack(token_indices), pack(cells))[voxels.voxel_of_point]

    def _scene(
        self,
        positions: Tensor,
        colors: Tensor,
        features: Tensor,
        token_of_point: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> SceneEncoding:
        origin = positions.mean(dim=0)
        mask_features = torch.cat(
            [self.mask_head(features).float(), position_channels(positions - origin)], dim=1
        )
        n = keys.shape[1]
        return SceneEncoding(
            origin=origin,
            positions=positions,
            features=features,
            mask_features=mask_features,
            gaussians=self.gaussian_head(features, positions, colors),
            token_positions=mean_rows(positions, token_of_point, n),
            token_counts=torch.bincount(token_of_point, minlength=n).float(),
            token_features=mean_rows(features, token_of_point, n),
            token_mask_features=mean_rows(mask_features, token_of_point, n),
            keys=keys,
            values=values,
        )

    def decode(self, encodings: Sequence[SceneEncoding], tokens: LanguageTokens) -> Decoded:
        """Answer one sentence on encodings of one map frame, attended to all together."""
        scene = SceneEncoding.concatenate(encodings)
        embeddings = self._embeddings(tokens)
        # A copy: in inference mode it carries no gradient, which the parameter itself would.
        bias = self.mask_bias.clone()
        layers = self.decoder(scene, embeddings, self.text_to_feature(embeddings), bias)
        splits = tuple(len(encoding.positions) for encoding in encodings)
        return Decoded(scene, splits, tokens, layers, bias)

    def _embeddings(self, tokens: LanguageTokens) -> Tensor:
        embeddings = torch.as_tensor(tokens.embeddings, dtype=torch.float32, device=self.device)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.config.language_dim:
            raise ValueError(
                f'language tokens have shape {tuple(embeddings.shape)}, expected '
                f'(T, {self.config.language_dim}): this model was made for the language encoder '
                f'"{self.config.language}"'
            )
        return embeddings

    def text_features(self, texts: Sequence[LanguageTokens]) -> Tensor:
        """Unit vectors (n, F) of texts in the space of the features: means of their tokens'."""
        features = self.text_to_feature(torch.cat([self._embeddings(text) for text in texts]))
        parts = features.split([len(text.spans) for text in texts])
        return functional.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=1)

    @torch.inference_mode()
    def read(self, tokens: LanguageTokens) -> Reading:
        """Read a sentence, for questions about any tiles."""
        embeddings = self._embeddings(tokens)
        return Reading(tokens, embeddings, self.text_to_feature(embeddings))

    @torch.inference_mode()
    def decode_many(self, tiles: Tiles, questions: Sequence[Question]) -> list[Outcome]:
        """Answer several questions, as many as possible in one pass.

        What ``decode`` says of each sentence and its encodings, up to rounding, at a cost that
        hardly grows with the map (``local_decoder.py``). Not for training.
        """
        answers: dict[int, Outcome] = {}
        bias = self.mask_bias.detach()
        for count in {len(question.places) for question in questions}:
            same = [i for i, own in enumerate(questions) if len(own.places) == count]
            at_once = max(PROPOSALS_AT_ONCE // count, 1)
            for first in range(0, len(same), at_once):
                group = same[first : first + at_once]
                asked = [questions[i] for i in group]
                answers.update(zip(group, decode_locally(self.decoder, tiles, asked, bias)))
        return [answers[i] for i in range(len(questions))]
