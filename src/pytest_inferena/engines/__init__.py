"""How an engine is described, found, installed and started."""
