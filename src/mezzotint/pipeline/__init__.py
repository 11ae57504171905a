"""A finished model: the pipeline, its codec and labels, loading, and recommended settings."""
