"""Menus: every block takes one of several options, under one or several budgets (multiple-choice knapsack).

choice    the instance: validated data, what it displays, its Lagrangian dual
given     the menus as they were given: read, named and checked
declare   the public constructor: pins, groups, and whether any choice fits
answer    what a solver claims, and the data of its proof
"""
