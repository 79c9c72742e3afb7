"""Pure functions ``(logits [N, C], labels [N], seen [C]) -> numbers``. Numbers that need absent rows (or seen ones) are
None without them, never NaN."""
