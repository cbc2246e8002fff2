"""brodmann: the map of a language model's capabilities."""
