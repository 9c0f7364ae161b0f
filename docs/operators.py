"""Writes docs/operators.md: how many of the Program's operators each engine has itself, as it says when it is asked.

`make operators` runs it, with every engine that is installed. tests/test_operators_page.py holds the page by it.
"""

import sys
from pathlib import Path

from pytest_inferena.engines.framework import Framework
from pytest_inferena.explain.operators import LEGEND, said, table
from pytest_inferena.program.expand import EXPANSIONS
from pytest_inferena.program.operators import OPERATORS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "operators.md"
HEAD = """\
# Operators that engines have themselves

A Program is written in {count} operators ([program-format.md](program-format.md)): {first} of the first tier, which
have to be computed, and {second} of the second, each of which the preparer can write with others.
An engine has some of both, some of them under conditions (a rank, a dtype, the value of an argument).
What it lacks is expanded; a model that needs what has no expansion is refused by operator and node.
`make operators` makes this page by asking each engine that is installed.

| engine | first tier | second tier | with conditions | of the first tier it lacks |
|---|---|---|---|---|
"""
TAIL = """
{table}

{legend}.
`inferena operators` prints the table for the engines that are installed here.
`inferena operators MODEL` prints what each of them runs of a model, and what stands in the way.

## What the five models still lack, and why no expansion gives it

| engine | cells | why |
|---|---|---|
| PyTorch (aot) | training | AOTInductor compiles what torch.export gives, which has no backward pass |
| CTranslate2, llama.cpp, Inferi | models that are no Llama, for CTranslate2 also no Whisper | they load \
whole architectures, not operators |
| CTranslate2, llama.cpp, Inferi | training | they have no backward pass, or take no gradient of the embedding |
| ncnn | training | its layers compute in float32 alone; a graph of gradients needs truth values and integers |
| ncnn | Stable Diffusion 1.5 U-Net | its time step is an integer |
| Meganeura | Stable Diffusion 1.5 U-Net | it has no sine, which the embedding of the time step needs |

Every cell with its reason: [coverage-tiny.md](coverage-tiny.md) at tiny size, [coverage.md](coverage.md) at full size.

Not in the tables: PyTorch and ExecuTorch take PyTorch's own operators; llama.cpp, CTranslate2 and Inferi recognise
whole architectures.
"""


def row(title, operators):
    """One line of the table."""
    tiers = [operators.keys() & EXPANSIONS.keys(), operators.keys() - EXPANSIONS.keys()]
    limited = sum(bool(conditions) for conditions in operators.values())
    lacks = ", ".join(f"`{name}`" for name in sorted(OPERATORS.keys() - EXPANSIONS.keys() - operators.keys()))
    return f"| {title} | {len(tiers[1])} | {len(tiers[0])} | {limited} | {lacks or 'none'} |"


def asked():
    """What the engines say, those that are installed and say something: title and operators by name."""
    found = {}
    for file in sorted(ROOT.glob("adapters/*/adapter.toml")):
        framework = Framework.read(file.parent)
        if framework.missing(framework.backends[0]):
            continue
        if (operators := said(framework, framework.backends[0])) is not None:
            found[framework.name] = framework.title, operators
    return found


if __name__ == "__main__":
    first = len(OPERATORS.keys() - EXPANSIONS.keys())
    head = HEAD.format(count=len(OPERATORS), first=first, second=len(EXPANSIONS))
    engines = asked()
    whole = table({name: operators for name, (_, operators) in engines.items()}, "github")
    rows = "\n".join(row(*engine) for engine in engines.values())
    PAGE.write_text(f"{head}{rows}\n{TAIL.format(table=whole, legend=LEGEND)}")
    sys.exit(0)
