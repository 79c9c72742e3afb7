"""Benchmarks: each prints its table; ``python -m benchmarks.ROOM.NAME`` from the root of the project."""
