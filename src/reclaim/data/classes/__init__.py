"""Lists of class names and ids."""
