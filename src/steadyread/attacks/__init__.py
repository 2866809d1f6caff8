"""How hard it is tried: one search, named settings of it, the smallest flip, and what needs no gradient."""
