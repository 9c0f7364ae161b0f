"""Is Meganeura's own graph of SmolLM2 faster than our operator table, on the same Vulkan device?"""

from __future__ import annotations

from benchmarks.fidelity.common import arguments
from benchmarks.fidelity.rust import adapter, built, by_hand, in_turns


def main() -> None:
    """Full size only: the configuration is Meganeura's. A driver for CPUs takes about a minute for each step."""
    options = arguments(__doc__)
    program = built("meganeura")
    target, ready, ours = adapter("smollm2", "meganeura", "vulkan", "full")
    ways = {"adapter": ours, "Meganeura's own graph": by_hand(program, "vulkan", ready, ours.env)}
    in_turns(target.model.title, ways, options.rounds)


if __name__ == "__main__":
    main()
