"""Files: what they are, what a platform wants of them, how they are made to fit, where they are kept."""
