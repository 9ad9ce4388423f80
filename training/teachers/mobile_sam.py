"""MobileSAM (Zhang et al. 2023; the paper's small SAM): its file, read into transformers' SAM.

The layout of ``mobile_sam.pt`` is that of github.com/ChaoningZhang/MobileSAM (``build_sam_vit_t``):
a state dict of SAM's prompt encoder and mask decoder, with TinyViT (Wu et al. 2022) in the place of
SAM's ViT. TinyViT is timm's, but for what MobileSAM changes: the last stage keeps the resolution
(stride 1), so that 1024 pixels become 64, and SAM's neck follows. Sizes are read off the tensors;
that the decoder has 8 heads and the input 1024 pixels is not in the file, and always so.

Only tensors are read (``weights_only``): nothing in the file is run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

IMAGE_SIZE, PATCH_SIZE = 1024, 16  # pixels along a side of the input, and of what is decoded
ENCODER = 'image_encoder.'
CLASSIFIER = (f'{ENCODER}head.', f'{ENCODER}norm_head.')  # of TinyViT's pretraining, not used
# What MobileSAM calls a part, and what timm and transformers call it, in this order.
RENAMED = (
    (r'^image_encoder\.neck', 'vision_encoder.neck'),
    (r'^image_encoder\.patch_embed\.seq\.0', 'vision_encoder.backbone.patch_embed.conv1'),
    (r'^image_encoder\.patch_embed\.seq\.2', 'vision_encoder.backbone.patch_embed.conv2'),
    # MobileSAM's stages end with what shrinks the image, timm's begin with it.
    (r'^image_encoder\.layers\.0\.downsample', 'vision_encoder.backbone.stages.1.downsample'),
    (r'^image_encoder\.layers\.1\.downsample', 'vision_encoder.backbone.stages.2.downsample'),
    (r'^image_encoder\.layers\.2\.downsample', 'vision_encoder.backbone.stages.3.downsample'),
    (r'^image_encoder\.layers', 'vision_encoder.backbone.stages'),
    (r'\.c\.weight$', '.conv.weight'),
    (r'pe_layer\.positional_encoding_gaussian_matrix', 'shared_embedding.positional_embedding'),
    (r'point_embeddings', 'point_embed'),
    (r'mask_downscaling\.0', 'mask_embed.conv1'),
    (r'mask_downscaling\.1', 'mask_embed.layer_norm1'),
    (r'mask_downscaling\.3', 'mask_embed.conv2'),
    (r'mask_downscaling\.4', 'mask_embed.layer_norm2'),
    (r'mask_downscaling\.6', 'mask_embed.conv3'),
    (r'output_upscaling\.0', 'upscale_conv1'),
    (r'output_upscaling\.1', 'upscale_layer_norm'),
    (r'output_upscaling\.3', 'upscale_conv2'),
    (r'(iou_prediction_head|mlps\.\d)\.layers\.0', r'\1.proj_in'),
    (r'(iou_prediction_head|mlps\.\d)\.layers\.2', r'\1.proj_out'),
    (r'(iou_prediction_head|mlps\.\d)\.layers\.1', r'\1.layers.0'),
    (r'transformer(.*)\.norm(\d|_final)', r'transformer\1.layer_norm\2'),
)


class TinyVitEncoder(nn.Module):
    """TinyViT and a neck, where a ``SamModel`` has its vision encoder."""

    def __init__(self, backbone: Any, neck: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, pixel_values: Tensor, **_: Any) -> Any:
        """Encode normalised images (N, 3, 1024, 1024): ``last_hidden_state`` (N, F, 64, 64)."""
        from transformers.models.sam.modeling_sam import SamVisionEncoderOutput

        features = self.neck(self.backbone.forward_features(pixel_values))
        return SamVisionEncoderOutput(last_hidden_state=features)


def load_mobile_sam(path: Path) -> tuple[Any, Any]:
    """Load model and processor from a file like ``mobile_sam.pt``.

    Raises ValueError where it is none, or is damaged.
    """
    from transformers import SamImageProcessor, SamModel, SamProcessor

    state = read_mobile_sam(path)
    try:
        model: Any = SamModel(_sam_config(state))
        model.vision_encoder = _encoder(state)
        model.load_state_dict(_renamed(state))
    except (KeyError, RuntimeError, IndexError) as error:
        raise ValueError(f'{path} is not whole, or another MobileSAM: {error}') from error
    return model.eval(), SamProcessor(SamImageProcessor())  # 1024 pixels, padded with 0


def read_mobile_sam(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file; ValueError where it is not MobileSAM's."""
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # zipfile, torch and its unpickler: each has its own
        raise ValueError(f'no tensors can be read from it ({str(error)[:80]})') from error
    if not isinstance(state, dict) or f'{ENCODER}patch_embed.seq.0.c.weight' not in state:
        raise ValueError('it holds other things than the tensors of MobileSAM')
    return state


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a state dict to the names of timm and transformers."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith(CLASSIFIER):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    shared = 'positional_embedding'  # one of the prompts and of the image
    renamed[f'shared_image_embedding.{shared}'] = renamed[
        f'prompt_encoder.shared_embedding.{shared}'
    ]
    return renamed


def _encoder(state: Mapping[str, Tensor]) -> TinyVitEncoder:
    from timm.layers import LayerNorm2d
    from timm.models.tiny_vit import TinyVit

    def rows(name: str) -> int:
        return len(state[f'{ENCODER}{name}'])

    stages = range(4)
    depths = [_count(state, rf'{ENCODER}layers\.{i}\.blocks\.(\d+)\.') for i in stages]
    biases = [state[f'{ENCODER}layers.{i}.blocks.0.attn.attention_biases'] for i in stages[1:]]
    dims = [rows('patch_embed.seq.2.c.weight')]
    dims += [rows(f'layers.{i}.downsample.conv3.c.weight') for i in stages[:-1]]
    backbone: Any = TinyVit(
        num_classes=0,
        embed_dims=tuple(dims),
        depths=tuple(depths),
        num_heads=(1, *(len(bias) for bias in biases)),  # the first stage has no attention
        window_sizes=(1, *(math.isqrt(bias.shape[1]) for bias in biases)),
        mlp_ratio=rows('layers.1.blocks.0.mlp.fc1.weight') / dims[1],
        mbconv_expand_ratio=rows('layers.0.blocks.0.conv1.c.weight') / dims[0],
        drop_path_rate=0.0,
    )
    backbone.head = nn.Identity()
    backbone.stages[3].downsample.conv2.conv.stride = (1, 1)
    width = rows('neck.0.weight')
    neck = nn.Sequential(
        nn.Conv2d(dims[-1], width, 1, bias=False),
        LayerNorm2d(width, eps=1e-6),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width, eps=1e-6),
    )
    return TinyVitEncoder(backbone, neck)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Count the parts that are numbered in names."""
    return len({match[1] for name in state if (match := re.match(pattern, name))})


def _sam_config(state: Mapping[str, Tensor]) -> Any:
    """Sizes of prompt encoder and mask decoder; SAM's own vision encoder is made tiny, to be left.

    The names that are looked up are those of the original SAM.
    """
    from transformers import SamConfig
    from transformers.models.sam.configuration_sam import (
        SamMaskDecoderConfig,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    width = state['mask_decoder.iou_token.weight'].shape[1]
    layer = 'mask_decoder.transformer.layers.0'
    inner = len(state[f'{layer}.cross_attn_token_to_image.q_proj.weight'])
    features = state['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'].shape[1]
    vision = SamVisionConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, mlp_dim=8,
        output_channels=width, num_pos_feats=features, global_attn_indexes=[],
        image_size=IMAGE_SIZE, patch_size=PATCH_SIZE,
    )  # fmt: skip
    prompt = SamPromptEncoderConfig(
        hidden_size=width,
        mask_input_channels=len(state['prompt_encoder.mask_downscaling.3.weight']),
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )
    decoder = SamMaskDecoderConfig(
        hidden_size=width,
        mlp_dim=len(state[f'{layer}.mlp.lin1.weight']),
        num_hidden_layers=_count(state, r'mask_decoder\.transformer\.layers\.(\d+)\.'),
        attention_downsample_rate=width // inner,
        iou_head_hidden_dim=len(state['mask_decoder.iou_prediction_head.layers.0.weight']),
    )
    return SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
