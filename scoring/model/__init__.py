"""The scored model: loading, blocks, losses."""
