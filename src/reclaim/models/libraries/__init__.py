"""Where classifiers come from, one file per library: ``(name, checkpoint, head, weights) -> Classifier``."""
