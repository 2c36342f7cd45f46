"""From scores to the tokens that training should not learn."""
