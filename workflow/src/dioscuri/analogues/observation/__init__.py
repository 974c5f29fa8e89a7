"""What an observatory sees of a simulated system, and observed maps made comparable to it."""
