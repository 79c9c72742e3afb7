"""From answers to better answers."""
