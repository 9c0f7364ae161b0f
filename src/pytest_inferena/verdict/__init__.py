"""Whether what an engine computed is the model's."""
