"""Where an engine leaves the reference: bisection over a Program's nodes, in a process of its own with torch.

`inferena explain` starts it. `pieces` cuts a Program, `reference` computes a piece in PyTorch and `engine` on the
engine, `search` chooses what is looked at next, `story` puts it together, and `case` writes what is left.
"""
