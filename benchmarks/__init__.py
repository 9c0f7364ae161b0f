"""The benchmark: one file a metric, one test a file. In the wheel as `pytest_inferena.benchmarks`."""
