"""The command `inferena`."""
