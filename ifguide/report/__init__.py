"""What a run found, as tables, figures, a page and coloured lines in the terminal."""
