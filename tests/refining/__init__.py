"""Tests of refined plans."""
