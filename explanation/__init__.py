"""How backpropagation runs through a network: shapes, formulas, agreement, and elements term by term."""

from ..kernels.explain import Term
from .explanation import Explanation, explain
from .step import Gradient, Step, Terms

__all__ = ["Explanation", "Gradient", "Step", "Term", "Terms", "explain"]
