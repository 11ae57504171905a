"""A finished model: the pipeline, its codec, labels, loading, shipped models, tuned settings."""
