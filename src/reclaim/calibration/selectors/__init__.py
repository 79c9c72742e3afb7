"""Ways of choosing the offset, one file each: ``(evidence, *, own numbers) -> Selection``."""
