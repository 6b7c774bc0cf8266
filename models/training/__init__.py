"""Train a model of the family on folders of photos."""
