"""Files of scores, plans and certificates: their schemas, their conversion to values, their verification."""
