"""The blocks of settings, one module per survey: every key with its unit and meaning."""
