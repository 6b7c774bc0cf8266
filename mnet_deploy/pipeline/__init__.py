"""Joins models, converters and runners: the only place that knows all three."""
