"""From a torch module to a Program; everything in here runs in the preparer, torch at hand."""
