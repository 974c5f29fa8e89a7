"""Networks on images of stars: augmentation, training, inference."""
