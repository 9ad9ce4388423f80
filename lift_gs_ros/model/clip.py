"""CLIP's text tower through open_clip (Radford et al. 2021; LIFT-GS uses ViT-L/14)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lift_gs_ros.model.tokens import LanguageTokens

MODEL_NAME = 'ViT-L-14-quickgelu'  # OpenAI's weights were trained with the quick GELU
DEFAULT_WEIGHTS = Path('~/.cache/lift_gs_ros/open_clip/ViT-L-14.safetensors')


class OpenClip:
    """Token embeddings are hidden states in the space that CLIP shares with images.

    The sentence is CLIP's own vector (the state at the end-of-text token), normalised, so that a
    text can be compared with an image embedding.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self.dim = int(model.text_projection.shape[1])

    @classmethod
    def load(cls, weights: str | Path = '', model_name: str = MODEL_NAME) -> OpenClip:
        """Load an open_clip model by name with weights from a local file."""
        if importlib.util.find_spec('open_clip') is None:
            raise ImportError(
                'the language encoder "open_clip" is not installed: pip install open_clip_torch'
            )
        path = Path(weights or DEFAULT_WEIGHTS).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f'no CLIP weights at {path}: get open_clip_model.safetensors of '
                '"timm/vit_large_patch14_clip_224.openai" from the Hugging Face hub and put it '
                'there, or give the path of your copy'
            )
        import open_clip

        model = open_clip.create_model(model_name, pretrained=None)
        open_clip.load_checkpoint(model, str(path), weights_only=True)
        del model.visual  # only text is encoded here
        return cls(model, open_clip.get_tokenizer(model_name))

    def to(self, device: torch.device | str) -> OpenClip:
        """Move to a device."""
        self._model.to(device)
        return self

    def tokens(self, texts: list[str]) -> list[LanguageTokens]:
        """Encode texts one by one (queries come one by one, captions are encoded once)."""
        return [self._encode(text) for text in texts]

    @torch.inference_mode()
    def _encode(self, text: str) -> LanguageTokens:
        pieces = list(self._pieces(text))
        length = int(self._model.context_length)
        kept = pieces[: length - 2]
        begin, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        ids = torch.zeros(1, length, dtype=torch.long)
        ids[0, : len(kept) + 2] = torch.tensor([begin, *(piece[0] for piece in kept), end])
        hidden = self._hidden(ids.to(self._model.text_projection.device))[0].float().cpu()
        return LanguageTokens(
            text=text,
            embeddings=hidden[1 : len(kept) + 1].numpy(),
            spans=np.array([piece[1:] for piece in kept], np.int64).reshape(-1, 2),
            sentence=nn.functional.normalize(hidden[len(kept) + 1], dim=0).numpy(),
            truncated=len(kept) < len(pieces),
        )

    def _hidden(self, ids: Tensor) -> Tensor:
        """Run the text tower as ``CLIP.encode_text`` does, but keep every token: (1, T, D)."""
        model = self._model
        x = model.token_embedding(ids) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        return x @ model.text_projection

    def _pieces(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Byte-pair tokens (id, begin, end) with the characters that they come from."""
        tokenizer = self._tokenizer
        # Some letters become two in lower case; they stay, so that characters keep their places.
        lower = ''.join(c.lower() if len(c.lower()) == 1 else c for c in text)
        for word in tokenizer.pat.finditer(lower):
            encoded = word.group().encode('utf-8')
            characters = [i for i, c in enumerate(word.group()) for _ in c.encode('utf-8')]
            at = 0
            symbols = ''.join(tokenizer.byte_encoder[byte] for byte in encoded)
            for piece in tokenizer.bpe(symbols).split(' '):
                num_bytes = len(piece.removesuffix('</w>'))
                begin, last = characters[at], characters[at + num_bytes - 1]
                yield tokenizer.encoder[piece], word.start() + begin, word.start() + last + 1
                at += num_bytes
