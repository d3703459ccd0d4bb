"""A research session: the loop and what it is made of."""
