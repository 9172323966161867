"""The command line: flags, values and the typed records made of them."""
