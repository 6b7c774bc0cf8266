"""The store of measurements: one small file a run, never changed, in a folder of the user."""
