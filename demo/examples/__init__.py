"""The example workflows, built: each is a module here, `python dev.py workflows` writes them."""
