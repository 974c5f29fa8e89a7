"""Stamps of single and double stars: mocks, likelihood and its optimum, companions."""
