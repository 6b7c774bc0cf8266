"""Published networks of other families, counted as ours are."""
