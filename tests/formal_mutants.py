"""Ways to weaken the proved checker: (what is wrong now, file of the theory, text in it, what stands there instead).

Each accepts some false claim, so that Coq must not accept the proof of soundness any more.
"""

MUTANTS: list[tuple[str, str, str, str]] = [
    ("negative weights", "Layers", "Qle_bool 0 (weight l) && less", "true && less"),
    ("costs of zero or less", "Layers", "less 0 (cost l) &&", "true &&"),
    ("barrier at one", "Layers", "| Barrier, Some h => less h 1", "| Barrier, Some h => Qle_bool h 1"),
    ("an interior at no price", "Layers", "need (less 0 total &&", "need (true &&"),
    ("an interior below its floor", "Layers", "Qle_bool (lower l) star &&", "true &&"),
    ("an interior above its cap", "Layers", "&& below_cap l star", "&& true"),
    ("floors unread", "Layers", "need (Qle_bool 0 (gradient c l (lower l) total))", "need true"),
    ("caps unread", "Layers", "need (Qle_bool (gradient c l h total) 0)", "need true"),
    ("a negative multiplier", "Layers", "need (Qle_bool 0 (multiplier c))", "need true"),
    ("limit unread", "Layers", "need (Qle_bool 0 (sign_of (kind c) * (limit c - spent)))", "need true"),
    (
        "complementary slackness dropped",
        "Layers",
        "need (Qeq_bool spent (limit c) || Qeq_bool (multiplier c) 0)",
        "need true",
    ),
    ("plans outside the box", "Layers", "fun l => Qle_bool (lower l) (planned l) &&", "fun l => true &&"),
    (
        "coupling not measured",
        "Layers",
        "need (Qle_bool excess (coupling c) &&",
        "need (true &&",
    ),
    (
        "price not measured",
        "Layers",
        "need (Qle_bool (size_of (claimed c - multiplier c)) (price c)",
        "need (true",
    ),
    ("price measured on one side", "Layers", "size_of (claimed c - multiplier c)", "(claimed c - multiplier c)"),
    ("distance not measured", "Layers", "Qle_bool (off c l q1 q2) most &&", "true &&"),
    (
        "all layers excused at no price",
        "Layers",
        "(Qeq_bool (weight l) 0 && Qeq_bool total 0)",
        "(true && Qeq_bool total 0)",
    ),
    ("gap without what is left over", "Layers", "(unused :: terms)", "(0 :: terms)"),
    ("gap without the slopes", "Layers", "(unused :: terms)", "(unused :: map (fun _ => 0) terms)"),
    (
        "gap unread",
        "Layers",
        "need (Qle_bool (inject_Z (ceilings GRID (unused :: terms))) (gap c * GRID))",
        "need true",
    ),
    ("struck off too early", "Sweep", "dot p o - low <=? room", "dot p o - low <? room"),
    ("root bound at the goal", "Leaf", "(room <? 0) || existsb", "(room <=? 0) || existsb"),
    ("no leaf without options", "Leaf", "(room <? 0) || existsb no_options ms", "(room <? 0) || true"),
    (
        "negative multipliers",
        "Leaf",
        "map (fun q => Z.abs (fst q * (below / snd q))) row",
        "map (fun q => - fst q) row",
    ),
    ("menus left out", "Leaf", "(taken ++ map snd others, [])", "(taken, [])"),
    ("rest not counted", "Leaf", "snd pg + least (fst pg) m", "snd pg"),
    (
        "parts need not cover",
        "Tree",
        "need (forallb (fun o => existsb (fun part => in_part part o) parts) left)",
        "need true",
    ),
    ("two parents", "Tree", "&& negb (PositiveMap.mem (key z) places)", "&& true"),
    ("budgets unread", "Menus", "need (leb spent (room ++ [entry spent n]))", "need true"),
    (
        "better by two units",
        "Menus",
        "entry spent n - scaled unit (gap c) - 1",
        "entry spent n - scaled unit (gap c) - 2",
    ),
]
