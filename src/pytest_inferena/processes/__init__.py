"""The parent's side of the processes that it starts: workers and the preparer."""
