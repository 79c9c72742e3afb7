"""This library inside other programs."""
