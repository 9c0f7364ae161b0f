"""The benchmark: a file for each metric, with one test. The wheel has it as `pytest_inferena.benchmarks`."""
