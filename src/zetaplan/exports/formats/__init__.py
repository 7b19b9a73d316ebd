"""Export formats, one file each, found by its name: `llm_compressor.py` is the format "llm-compressor".

Each format defines the settings of a plan (`settings`), writes them (`write`), and reads any file of its type by the
rules of its tool (`read`), so that the check uses the tool's own interpretation of the file.
"""
