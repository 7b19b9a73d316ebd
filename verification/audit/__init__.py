"""Audit of solvers: how often is a solution that a solver reports as optimal wrong?

    planting     instances with a chosen active set and multiplier, and so with a known optimum
    trial        comparison of one solution and its status with the optimum in fractions
    contestants  the solvers under test, by name
    tally        counts that do not depend on order and sharding
    campaign     many trials: parallel, sharded, resumable
    shrinking    the smallest instance on which a solver still fails
    report       one HTML file and one JSON file
    published    checks of a published plan without its scores
    menus        the same question of choices from menus: hard families, exact truth, every proof checked and forged
    planted_rows, planted_menus   instances by the thousand whose optimum is known by construction
    rows         batches of planted rows: answers judged, and their certificates forged
    forgeries    classes of false certificates, which every checker must refuse

Only the audit imports solvers; certificates and bounds do not.
"""
