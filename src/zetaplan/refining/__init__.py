"""Plans refined by measurements at the operating point: moves of single blocks, chosen with proof, accepted by test."""
