"""Point-spread functions: of optics, from files, fitted to stars; and how they are laid on pixels."""
