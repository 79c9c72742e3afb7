"""Calibrators beside those of other libraries."""
