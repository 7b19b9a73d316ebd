"""Files of scores, plans and certificates: schemas, conversion to values, and verification."""
