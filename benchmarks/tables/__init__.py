"""What plans are worth on real models: rules, zeta^2, measured menus, refinement and evolutionary search side by side."""
