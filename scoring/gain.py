"""Gains that a plan can use: as measured, net of the noise floor, or cross-fitted so that noise cancels."""

from typing import Literal

Gain = Literal["raw", "net", "unbiased"]
