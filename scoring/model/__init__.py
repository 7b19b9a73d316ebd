"""The model that is scored: loading, blocks, losses."""
