"""Our C program that runs models where Python does not, and what is brought to a device beside it."""
