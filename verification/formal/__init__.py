"""Theorems of zetaplan that Coq has checked, and a checker of certificates that is proved to accept only true claims.

`theory/*.v` holds definitions, theorems and proofs, `checker/*.ml` the parser of JSON and the command, which are not
proved. `make checker` builds both and prints what every theorem assumes; nothing else of zetaplan depends on it.
"""
