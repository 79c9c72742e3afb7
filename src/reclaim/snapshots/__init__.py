"""What a model answered: the seam between training and everything after it."""
