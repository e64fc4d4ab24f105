"""Judging a run: which epochs, at which strengths, on which prompts, shown side by side."""
