"""The one exception that reaches a user as a single line instead of a traceback."""


class UserError(ValueError):
    """A mistake in a recipe, a command, a file or the data, told in one line that says what is allowed."""
