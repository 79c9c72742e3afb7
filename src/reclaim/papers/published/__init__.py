"""The registry of published tables and figures: one file per entry, and nothing else."""
