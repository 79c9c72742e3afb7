"""Maps from logits to logits, one file each; `reclaim.calibration.protocol` says what each can do."""
