"""Why a choice is right: its proof in fractions, the checker that shares no code, and what it can lose under drift."""
