"""Data-parallel training over MPI or NCCL, whose bits do not depend on how many processes run it.

A batch is cut into a fixed number of shards, whose gradients are added up in a fixed binary tree, wherever they are
computed: 1, 2 or 4 processes train the same weights, bit for bit.
"""

from .communicator import Communicator, communicator
from .optimizer import DistributedOptimizer

__all__ = ["Communicator", "DistributedOptimizer", "communicator"]
