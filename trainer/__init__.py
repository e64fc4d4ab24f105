"""Training: a recipe and a dataset in, a run out. Knows no host; `ports.py` says what it needs of one."""
