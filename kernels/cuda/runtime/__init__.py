"""From a .cu file to a launched kernel."""
