"""What each choice of mixture and offset costs, over many scenarios."""
