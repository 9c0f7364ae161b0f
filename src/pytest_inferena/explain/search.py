"""Finds the first wrong value of a graph as `git bisect` finds the first bad commit: a third of a look per doubling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def first_wrong(parents: Mapping[str, Sequence[str]], start: str, is_wrong: Callable[[str], bool | None]) -> str:
    """A value that is wrong although all that it is made of is right.

    Args:
        parents: every value that can be looked at, in order of execution, with those that it is made of.
        start: one that is wrong.
        is_wrong: looks at a value; None if it cannot be seen.

    What is right is taken to be made of what is right. In the end that is looked at for the values that matter.
    """
    above = _ancestors(parents)
    names, place = list(parents), {name: index for index, name in enumerate(parents)}
    seen: dict[str, bool | None] = {start: True}
    cleared, wrong = 0, start

    def look(name: str) -> bool | None:
        if name not in seen:
            seen[name] = is_wrong(name)
        return seen[name]

    while True:
        suspects = above[wrong] & ~cleared
        while suspects:
            name = _middle(names, suspects, above)
            found = look(name)
            if found:
                wrong = name
                suspects = above[wrong] & ~cleared
            else:
                cleared |= 1 << place[name]
                if found is False:
                    cleared |= above[name]
                suspects &= ~cleared
        worse = next((name for name in parents[wrong] if look(name)), None)
        if worse is None:
            return wrong
        wrong, cleared = worse, 0
        for name, found in seen.items():  # what was only assumed to be right is open again
            cleared |= 0 if found else 1 << place[name]


def _ancestors(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """What each value depends on, as bits in the order of `parents`."""
    place = {name: index for index, name in enumerate(parents)}
    above: dict[str, int] = {}
    for name, of in parents.items():
        above[name] = 0
        for parent in of:
            above[name] |= above[parent] | 1 << place[parent]
    return above


def _middle(names: Sequence[str], suspects: int, above: Mapping[str, int]) -> str:
    """The suspect that halves the suspects best, whether it is right or wrong."""
    total = suspects.bit_count()

    def smaller_half(name: str) -> int:
        count = (above[name] & suspects).bit_count() + 1
        return min(count, total - count + 1)

    return max((name for index, name in enumerate(names) if suspects >> index & 1), key=smaller_half)
