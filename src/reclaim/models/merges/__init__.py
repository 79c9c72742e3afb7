"""Methods in weight space: ``(theta_0, theta_1, *, own numbers) -> theta``, state dicts in and out, none modified."""
