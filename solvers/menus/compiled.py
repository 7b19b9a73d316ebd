"""The loop over menus, compiled. The machine code is cached on disk and loaded on first use."""

from __future__ import annotations

from numba import float64, int64, njit, types

from zetaplan.solvers.menus import hull

READ = types.Array(float64, 1, "C", readonly=True)
PLACES = types.Array(int64, 1, "C", readonly=True)

hulls = njit(int64(READ, READ, PLACES, int64[::1], int64[::1]), nogil=True, cache=True)(hull.hulls)
