"""Matrix products: which tile and how many blocks one takes, and its launch."""
