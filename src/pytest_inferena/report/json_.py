"""Results as the document that `pytest_inferena.results.read` reads back, one record a line for diffs."""

import json

from pytest_inferena.results import SCHEMA, Results


def render(results: Results) -> str:
    """Render everything the results hold; only the warnings of reading are left out."""
    records = ",\n".join(json.dumps(record, allow_nan=False) for record in results.records)
    run = json.dumps(results.run, allow_nan=False)
    return f'{{"schema": {SCHEMA},\n"run": {run},\n"records": [\n{records}\n]}}\n'
