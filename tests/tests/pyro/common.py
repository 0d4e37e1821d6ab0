"""What the checks of both Pyros share."""


def refused(call, kind, text):
    """The call is refused with exactly this class and sentence."""
    try:
        answer = call()
    except Exception as error:
        said = str(error)
        assert type(error) is kind, (type(error), said)
        assert said == text, (said, text)
        return error
    raise AssertionError(f"not refused: {answer!r}, expected {text!r}")
