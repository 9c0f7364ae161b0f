"""One run of pytest: cells are measured, recorded, replayed and shown."""
