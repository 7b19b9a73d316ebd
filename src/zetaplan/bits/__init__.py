"""Plans of formats: a menu under the rules of a runtime, within bits, bytes or memory."""
