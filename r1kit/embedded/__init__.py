"""The embedded world: a base model of 1.1M parameters, its problem sets, and the program that made both."""
