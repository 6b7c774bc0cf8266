"""Programs that run on a device: single files that a transport sends or starts there."""
