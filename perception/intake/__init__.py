"""From a wave folder to tidy responses: what the folder declares, readers, harmonising and the quality record."""
