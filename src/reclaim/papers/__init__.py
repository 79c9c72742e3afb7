"""Experiments from start to printed table."""
