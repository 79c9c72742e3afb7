"""The page: pure functions from records to text. Same results, same bytes."""
