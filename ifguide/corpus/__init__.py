"""From files and hub names to documents, blocks of tokens and queries."""
