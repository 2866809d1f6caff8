"""Numbers and findings as words: the only room that makes sentences of what was measured."""
