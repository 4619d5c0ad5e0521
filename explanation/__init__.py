"""How backpropagation runs through a network: shapes, formulas, agreement, and elements term by term."""

from ..kernels.sums import Term
from .explanation import Explanation, explain
from .step import Gradient, Step, Terms, Verdict

__all__ = ["Explanation", "Gradient", "Step", "Term", "Terms", "Verdict", "explain"]
