"""Labels and probabilities of any system from the tables that people write them to."""
