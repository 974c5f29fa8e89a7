"""How good the results are: rates, merits, recall and checks per survey, beside the papers' numbers."""
