"""What fine-tuning damaged, one question per file: ``(before, after) -> Finding``, from snapshots of the same rows.

A diagnosis that lacks what it needs (features, weights, absent rows) says so in its verdict and finds no damage.
"""
