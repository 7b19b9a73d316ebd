"""Is a solver right when it says "optimal"? Planted optima, exact truth, and a count of who was wrong.

    planting     instances built around a chosen active set and multiplier, so that the answer is known
    trial        one solver's answer against the exact truth, its status against the facts
    contestants  the solvers that can be asked, by name
    tally        counts that add up the same whatever the order and the sharding
    campaign     many trials: parallel, sharded, resumable
    shrinking    the smallest instance on which a solver still fails
    report       one HTML file and one JSON file
    published    what can be said of a plan that someone else published
    menus        the same question of choices from menus: hard families, exact truth, every proof checked and forged

The one part of verification that runs solvers: certificates never do.
"""
