"""The solvers behind the calibrators."""
