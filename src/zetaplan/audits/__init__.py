"""Audits of other tools' bit plans: exact bytes, fusions, fallbacks, entries without effect, distance from the optimum.

`forms/` holds one file for every format of plans; `bits.audit_bits` is the audit.
"""
