"""What is learned: from a batch of windows to named losses."""
