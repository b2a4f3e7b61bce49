"""`python -m flag3d_exp` and `flag3d-exp`."""

from flag3d_exp.engine.interrupt import end_on_sigterm


def main() -> None:
    """Run the program; SIGTERM ends it with one line, even during the imports."""
    end_on_sigterm()
    from flag3d_exp.main import main as program

    program()


if __name__ == "__main__":
    main()
