"""What is shown to a network: examples, and how they become inputs."""
