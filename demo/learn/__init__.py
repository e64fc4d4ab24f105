"""Training the miniature world's models from nothing."""
