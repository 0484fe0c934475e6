"""The papers as cards: what each one published, and the recipes to train its networks.

One TOML file a paper, beside this module; the standard library is enough to read them.
"""
from .card import Card, CardError, Result, Table, card, card_of, cards
from .recipe import Recipe, RecipeError

__all__ = ["Card", "CardError", "Recipe", "RecipeError", "Result", "Table", "card", "card_of", "cards"]
