"""Plans side by side on real models: rules, zeta^2, measured menus, refinement and evolutionary search."""
