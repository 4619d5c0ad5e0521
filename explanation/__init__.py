"""How backpropagation runs through a network: shapes, formulas, agreement, and elements term by term."""

from .explanation import Explanation, Gradient, Step, explain
from .terms import Term, Terms

__all__ = ["Explanation", "Gradient", "Step", "Term", "Terms", "explain"]
