"""The drawn world: figures from a description, with the tags that a booru would give them."""
