"""What answers: networks, their heads and their weights."""
