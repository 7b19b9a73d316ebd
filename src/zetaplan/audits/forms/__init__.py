"""Files of other tools that store a bit plan, one file per format.

A form is a file with `recognises(source)`, which says whether a file has the format, and `read(source)`, which gives
the plan and raises SpecError, in one line, for a file that breaks the format.
"""
