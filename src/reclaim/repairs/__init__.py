"""The main job: how far to go back, and which offset."""
