"""One file per format, found by its name: `llm_compressor.py` is the format "llm-compressor".

Each says what it sets (`settings`), writes it (`write`), and reads any file of its kind back by the rules of its tool
(`read`), so that what was written is checked as the tool will understand it.
"""
