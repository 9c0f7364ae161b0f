"""Operators by PyTorch's own samples: `make opinfo` holds each to PyTorch, forward and gradient."""
