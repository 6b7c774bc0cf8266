"""What Python and engines a device has, which fit it, and how it gets them."""
