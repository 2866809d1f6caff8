"""What a network sees: the values of its layers, where in the image its evidence lies, and whether maps tell."""
