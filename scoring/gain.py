"""Which gain a plan counts: as measured, net of its noise floor, or cross-fitted so that noise cancels."""

from typing import Literal

Gain = Literal["raw", "net", "unbiased"]
