"""The command line: `backstride train | explain | info`."""
