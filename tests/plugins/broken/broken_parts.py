"""Its import fails."""


class Unwell:
    """Never reached."""


class Stranger:
    """Never reached."""


raise RuntimeError("this package\nis unwell")
