"""The one error that a user can mend."""


class InputError(ValueError):
    """Input that cannot be used: one line that names the file, the field and the mend.

    The command line prints the line and exits with status 2; library users catch it as a
    ``ValueError``.
    """
