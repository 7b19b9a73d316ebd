"""Why it is right: certificates that never import a solver."""
