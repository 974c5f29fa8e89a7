"""Frozen features of images and the heads trained on them."""
