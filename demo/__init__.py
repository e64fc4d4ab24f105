"""The miniature world, a tiny model family trained from nothing, and the demo that stands on it."""
