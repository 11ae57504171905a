"""The playground: a page in a browser that samples from a model and edits images with it."""
