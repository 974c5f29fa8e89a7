"""Point sources on a detector: PSFs, stamps, frames, photometry, and the second star in the shape of the first."""
