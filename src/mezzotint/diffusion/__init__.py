"""The noise axis, and everything that works on it: schedules, grids, guidance, samplers.

Every schedule is variance preserving: ``x = alpha * x0 + sigma * eps`` with
``alpha**2 + sigma**2 = 1``, tabulated in float64. Betas are not used outside this package.
"""
