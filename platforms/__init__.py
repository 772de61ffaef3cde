"""The social platforms: one module or folder each, behind one Protocol (``platforms.base``)."""
