"""What the preparer does, in a process of its own with torch: a model becomes files."""
