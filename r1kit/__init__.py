"""r1kit: every stage of DeepSeek-R1 as one command."""

__version__ = "0.1.0"
