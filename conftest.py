"""What is benchmarked is registered in benchmarks/conftest.py; the tests of the plugin need pytester."""

pytest_plugins = ["pytester"]
