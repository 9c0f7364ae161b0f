"""Is SmolLM2 of candle-transformers faster than our operator table?

Its Llama computes the logits of the last position only, and is timed for what it is; its SmolLM3, without layers that
lack a rotary embedding, is the same network and gives the hidden states of all positions to the language model's head.
"""

from __future__ import annotations

from benchmarks.fidelity.common import arguments
from benchmarks.fidelity.rust import adapter, built, by_hand, in_turns


def main() -> None:
    """Full size only: constants in the program are its."""
    options = arguments(__doc__)
    program = built("candle")
    target, ready, ours = adapter("smollm2", "candle", "cpu", "full")
    ways = {
        "adapter": ours,
        "candle-transformers' SmolLM3, all positions": by_hand(program, "smollm3", ready),
        "candle-transformers' Llama, the last position": by_hand(program, "llama", ready),
    }
    in_turns(target.model.title, ways, options.rounds)


if __name__ == "__main__":
    main()
