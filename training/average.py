r"""Average the parameters of a network before and after fine-tuning.

    python -m training.average runs/small_longest/model.safetensors \
        runs/small_finetuned/model.safetensors --out runs/averaged.safetensors

Fine-tuning gains what its labels teach and loses some of what they do not; between the two networks
lies one that keeps most of both (WiSE-FT, Wortsman et al. 2022, equation 1).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from lift_gs_ros.model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from lift_gs_ros.model.lift_gs import LiftGS
from training.trainer import FREE


def average(before: LiftGS, after: LiftGS, share: float) -> LiftGS:
    """Return ``after`` with parameters ``(1 - share) before + share after``.

    Counts (integers) stay those of ``after``, as does what fine-tuning may change in the config.
    Raises ValueError for other differences, and for a share that is not within [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share is {share}, expected a number in [0, 1]')
    ours, theirs = after.config.to_dict(), before.config.to_dict()
    if different := [n for n in ours if n not in FREE and ours[n] != theirs[n]]:
        raise ValueError(
            f'the two networks differ in {", ".join(different)}: only a network and what was '
            'fine-tuned from it can be averaged'
        )
    old = before.state_dict()
    with torch.no_grad():
        for name, value in after.state_dict().items():
            if value.is_floating_point():
                value.lerp_(old[name], 1 - share)
    return after


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('before', type=Path, help='checkpoint that fine-tuning started from')
    parser.add_argument('after', type=Path, help='checkpoint that it ended with')
    parser.add_argument('--share', type=float, default=0.5, help='of what is after it')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    model = average(load_checkpoint(options.before), load_checkpoint(options.after), options.share)
    notes = [read_metadata(path)[1] for path in (options.before, options.after)]
    save_checkpoint(
        options.out,
        model,
        trained=all(note.get('trained') for note in notes),
        half=True,
        stage=f'mean of two networks, {options.share:g} of the second',
        sources=notes,
    )
    print(f'wrote {options.out}')


if __name__ == '__main__':
    main()
