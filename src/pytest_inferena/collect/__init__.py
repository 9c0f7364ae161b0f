"""What there is to benchmark and what was asked for: models, frameworks, targets, options."""
