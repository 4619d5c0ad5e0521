"""What optimizers do with arrays: one step of every parameter, and the norm of all gradients.

No room of an operation: a step changes arrays in place, and one launch serves many of them.
"""
