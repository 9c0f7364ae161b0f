"""Draws the rooms of `src/pytest_inferena` into CONTRIBUTING.md: what each does, and which others it uses.

`make rooms` runs it. What a room does is the first line of its docstring; an arrow is an import, also one that stands
in a function or is for types only. `pyproject.toml` has the layers that are allowed; this shows those that there are.
"""

import ast
import graphlib
import re
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pytest_inferena"
PAGE = ROOT / "CONTRIBUTING.md"
PLACE = re.compile(r"(?<=<!-- rooms: make rooms -->\n).*?(?=<!-- end of rooms -->)", re.DOTALL)
OUTSIDE = {"hooks", "model"}  # names that others use; they say what there is and do nothing


def arrows():
    """Which rooms each room imports."""
    graph = grimp.build_graph(PACKAGE.name, cache_dir=None)
    names = {child.split(".")[1] for child in graph.find_children(PACKAGE.name)} - OUTSIDE
    found = {name: set() for name in names}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            here, there = (path.split(".")[1:2] for path in (module, imported))
            if here != there and names.issuperset(here + there) and here and there:
                found[here[0]].add(there[0])
    return found


def layers(found):
    """The layer of each room: one above the highest that it imports. Raises CycleError where there is none."""
    heights = {}
    for name in graphlib.TopologicalSorter(found).static_order():
        heights[name] = 1 + max((heights[used] for used in found[name]), default=0)
    return heights


def purpose(name):
    """The first line of a room's docstring."""
    folder = PACKAGE / name
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).splitlines()[0]


def drawing(found):
    """Rooms from the top layer down, each with the rooms below that it uses."""
    heights = layers(found)
    order = sorted(found, key=lambda name: (-heights[name], name))
    lines = []
    for above, name in zip([None, *order], order, strict=False):
        floor = "" if above and heights[above] == heights[name] else heights[name]
        lines.append(f"{floor:>2}  {name:<10} {purpose(name)}")
        used = [other for other in order if other in found[name]]
        lines += [f"{'':14} └→ {', '.join(used)}"] if used else []
    count = sum(map(len, found.values()))
    return "\n".join(
        ["```text", *lines, "", f"{max(heights.values())} layers, {count} arrows, all downwards", "```", ""]
    )


if __name__ == "__main__":
    PAGE.write_text(PLACE.sub(lambda _: drawing(arrows()), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
