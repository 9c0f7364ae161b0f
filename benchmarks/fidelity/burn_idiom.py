"""Is SmolLM2 of burn-nn's modules, on the same backend, faster than our operator table?"""

from __future__ import annotations

from benchmarks.fidelity.common import arguments
from benchmarks.fidelity.rust import adapter, built, by_hand, in_turns


def main() -> None:
    """Full size only: constants in the program are its."""
    options = arguments(__doc__)
    program = built("burn")
    target, ready, ours = adapter("smollm2", "burn", "flex", "full")
    in_turns(target.model.title, {"adapter": ours, "burn-nn": by_hand(program, "flex", ready)}, options.rounds)


if __name__ == "__main__":
    main()
