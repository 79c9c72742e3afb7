"""From examples as they are stored to what a network takes, one file per kind of example."""
