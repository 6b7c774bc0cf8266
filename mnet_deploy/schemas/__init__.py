"""JSON schemas of every format that the toolkit writes."""
