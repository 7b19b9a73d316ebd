"""Menus: every block takes one of several options, under one or several budgets (multiple-choice knapsack).

choice    the instance: validated data, what it displays, its Lagrangian dual
declare   the public constructor, and every check of the data
answer    what a solver claims, and the data of its proof
"""
