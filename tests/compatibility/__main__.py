"""The command: tries what was not tried yet, prints each result, and writes docs/compatibility.md.

It goes on where it was stopped. `make clean` or `rm -r .compatibility` forgets everything, so that it starts anew with
the package as it is then.
"""

from __future__ import annotations

import argparse

from tests.compatibility import matrix, page, suites
from tests.compatibility.places import PYTESTS, PYTHONS, ROOT, Places
from tests.compatibility.plugins import PLUGINS


def main() -> None:
    """Try everything, or what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    names = [*(plugin.name for plugin in PLUGINS), *suites.SUITES]
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a plugin or a suite; without: all")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only with this; several")
    parser.add_argument("--pytest", action="append", choices=PYTESTS, help="only with this; both")
    chosen = parser.parse_args()
    if unknown := {*chosen.names} - {*names}:
        parser.error(f"no plugin or suite is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    places = Places(ROOT / ".compatibility")
    for version in chosen.python or PYTHONS:
        for label in chosen.pytest or PYTESTS:
            for plugin in PLUGINS:
                if plugin.name in (chosen.names or names):
                    matrix.once(places, version, label, plugin)
                    page.write(places)
    for name in suites.SUITES:
        if name in (chosen.names or names):
            suites.once(places, name)
            page.write(places)


main()
