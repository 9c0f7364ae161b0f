"""Results as a document that `pytest_inferena.results.read` reads back. Each record has a line, for diffs."""

import json
from collections.abc import Iterable

from pytest_inferena.results import SCHEMA, Results, plain


def render(results: Results) -> str:
    """Render all that the results hold, except the warnings of reading."""
    return f'{{"schema": {SCHEMA},\n{_body(results)}}}\n'


def render_all(runs: Iterable[Results]) -> str:
    """Render several runs as one document."""
    parts = ",\n".join(f"{{{_body(results)}}}" for results in runs)
    return f'{{"schema": {SCHEMA},\n"runs": [\n{parts}\n]}}\n'


def _body(results: Results) -> str:
    records = ",\n".join(json.dumps(plain(record), allow_nan=False) for record in results.records)
    return f'"run": {json.dumps(plain(results.run), allow_nan=False)},\n"records": [\n{records}\n]'
